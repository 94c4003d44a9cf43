// FileQuiet: whether a module's file was perhaps read while somebody wrote to it, and is worth
// another try. Waits, within limits::kFileQuietWaitMs in all, until nobody has written to it for
// limits::kFileQuietMs.
//
// Threads: the reload thread.
#pragma once

#include <string>

#include "modules/scan.h"

namespace hrmr::modules {

class FileQuiet {
 public:
  // `stamp`: of the file before the first try. An empty path: there is no file, nothing to wait
  // for.
  FileQuiet(std::string path, const FileStamp& stamp);

  // After each try. False: what was tried is what the file says, and will say.
  bool is_worth_another_try(bool was_ok);
  // Of the file that the next try is about to read.
  const FileStamp& stamp() const { return stamp_; }

 private:
  bool has_changed();
  bool is_young() const;

  std::string path_;
  FileStamp stamp_;
  uint64_t deadline_ms_;
};

}  // namespace hrmr::modules
