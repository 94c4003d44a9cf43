// PrivateFolder: where generations keep their copies, for the life of one registry.
//
// "hrmr-XXXXXX" in the folder for temporary files, for this user only. A lock on it says
// that somebody still uses it; whoever starts later removes the folders of those that died.
//
// Threads: the reload thread.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace hrmr::modules {

class PrivateFolder {
 public:
  PrivateFolder() = default;
  // Removes the folder, unless code in it is still mapped: dlopen knows libraries by inode, so the
  // inode of a mapped file must not become free for another.
  ~PrivateFolder();
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;

  // Makes the folder at the first call, and again when it is gone.
  Status open();
  const std::string& path() const { return path_; }  // absolute; empty before open()

 private:
  std::string path_;
  Fd lock_;
};

}  // namespace hrmr::modules
