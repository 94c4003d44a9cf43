// FileQuiet: whether a module's file was perhaps read while somebody wrote to it, and is worth
// another try. Waits, within limits::kFileQuietWaitMs in all, until nobody has written to it for
// limits::kFileQuietMs.
//
// Threads: the reload thread.
#pragma once

#include <string>
#include <string_view>

#include "modules/sources.h"

namespace hrmr::modules {

class FileQuiet {
 public:
  // `suffix`: of the files of a package; `stamp`: of the file before the first try. An empty path:
  // there is no file, nothing to wait for.
  FileQuiet(std::string path, std::string_view suffix, const FileStamp& stamp);

  // After each try. False: what was tried is what the file says, and will say.
  bool is_worth_another_try(bool was_ok);
  // Of the file that the next try is about to read.
  const FileStamp& stamp() const { return stamp_; }

 private:
  bool has_changed();
  bool is_young() const;

  std::string path_;
  std::string suffix_;
  FileStamp stamp_;
  uint64_t deadline_ms_;
};

}  // namespace hrmr::modules
