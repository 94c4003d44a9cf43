// FileWatcher: which modules were changed on disk and have settled since.
//
// It is told by inotify, or finds out by listing the files again and again, where there is no
// inotify (network and shared file systems) or its limits are met. A listing is also made whenever
// folders come or go, and before a module is given out: what it shows and no notice has told
// counts as a change, so that a notice which was lost, or came before its folder was watched, is no
// change lost.
//
// Time is handed in, so that tests need not wait.
//
// Threads: one; look() reads folders, which may take its time on a slow file system.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/log.h"
#include "modules/inotify.h"
#include "modules/settling.h"
#include "modules/watch_list.h"

namespace hrmr::modules {

struct WatchOptions {
  std::vector<std::string> places;
  std::vector<std::string> suffixes;  // of module files
  uint64_t poll_ms = 0;               // 0: inotify
};

struct SettledModules {
  std::vector<std::string> names;  // to be reloaded
  std::set<std::string> gone;      // those of them that have no file now
};

class FileWatcher {
 public:
  FileWatcher(WatchOptions options, Log& log);

  // Begins to watch: what changes from now on is seen. Never fails: without inotify it polls, and
  // says so.
  void open();
  // Readable when look() has something to see; -1: it polls.
  int fd() const { return inotify_.fd(); }
  // What happened, and what has settled by now.
  SettledModules look(uint64_t now_ms);
  // In which time to look though fd() is not readable; 0: no need to.
  uint64_t look_again_ms() const;
  // Whether the module has changed and not settled yet.
  bool is_pending(const std::string& name) const { return settling_.has(name); }
  void close() { inotify_.close(); }

 private:
  bool is_polling() const { return poll_ms_ != 0; }
  void take_notices(uint64_t now_ms);
  void take_notice(const Notice& notice, uint64_t now_ms);
  void take_file_notice(const Notice& notice, const std::string& module, uint64_t now_ms);
  WatchList list_and_watch();
  void compare(const WatchList& now, uint64_t now_ms);
  void fall_back(const Status& why);

  WatchOptions options_;
  Log& log_;
  uint64_t poll_ms_ = 0;  // 0: inotify
  Inotify inotify_;
  Settling settling_;
  WatchList list_;              // as of the last look that listed
  std::set<std::string> told_;  // files that notices have told of since
  bool must_list_ = false;
  bool must_take_all_ = false;  // notices were lost
  bool has_warned_ = false;     // that there are too many folders
};

}  // namespace hrmr::modules
