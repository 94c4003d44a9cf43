// Inotify: tells what happens to the entries of a set of folders, which are known by their paths.
//
// A path may lead to another folder tomorrow, and two paths to one folder; the kernel knows folders
// only. So each path remembers which folder it led to when the watch was made.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"

namespace hrmr::modules {

struct FolderId {
  uint64_t device = 0;
  uint64_t inode = 0;
  bool operator==(const FolderId&) const = default;
};

// IN_* bits about the entry `name` of `folder`; about the folder itself, when there is no name; and
// with IN_Q_OVERFLOW about no folder: the kernel has dropped some.
struct Notice {
  std::string folder;
  std::string name;
  uint32_t mask = 0;
};

class Inotify {
 public:
  struct Wish {
    FolderId id;
    uint32_t mask = 0;
  };

  // On error the message names the limit that was met and what to do.
  Status open();
  // Watches these folders, and no other from now on. `has_new`: one was not watched before, so that
  // what happened in it until now is not known. A folder that has gone is left out without a word.
  Status watch(const std::map<std::string, Wish>& folders, bool& has_new);
  // What has happened. More may be there when it returns.
  std::vector<Notice> read();

  int fd() const { return fd_.get(); }
  void close();

 private:
  struct Watched {
    int descriptor = -1;
    Wish wish;
  };
  Status add(const std::string& folder, const Wish& wish, bool& has_new);
  void drop(const std::string& folder);
  void forget(int descriptor);

  Fd fd_;
  std::map<std::string, Watched> watched_;
  std::map<int, std::set<std::string>> folders_of_;  // by watch descriptor
};

}  // namespace hrmr::modules
