#include "modules/file_watcher.h"

#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/limits.h"

namespace hrmr::modules {

namespace {

// Of an entry: it is another one than before, or none.
constexpr uint32_t kEntryMask = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
constexpr uint32_t kFolderMask = IN_DELETE_SELF | IN_MOVE_SELF;
constexpr uint32_t kFileMask = IN_MODIFY | IN_CLOSE_WRITE;
// Of a folder: it is not what we think any more.
constexpr uint32_t kLostMask = kFolderMask | IN_IGNORED | IN_UNMOUNT;

// Adding watches makes new folders known, which may hold more folders; a bound for somebody who
// makes them faster than we look.
constexpr int kListingsMax = 8;

// A link to a file that is complete, and not one that was made by opening it: that is empty, or its
// writer's notice follows this one.
bool is_complete(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return false;
  return S_ISLNK(status.st_mode) || status.st_size > 0;
}

std::map<std::string, Inotify::Wish> wishes_of(const WatchList& list) {
  std::map<std::string, Inotify::Wish> wishes;
  for (const auto& [path, folder] : list.folders()) {
    const bool has_files = folder.is_place || !folder.packages.empty() || !folder.targets.empty();
    wishes[path] = {folder.id, kEntryMask | kFolderMask | (has_files ? kFileMask : 0)};
  }
  return wishes;
}

}  // namespace

FileWatcher::FileWatcher(WatchOptions options, Log& log)
    : options_(std::move(options)), log_(log), poll_ms_(options_.poll_ms) {}

void FileWatcher::open() {
  if (!is_polling()) {
    const Status opened = inotify_.open();
    if (!opened.is_ok()) fall_back(opened);
  }
  list_ = list_and_watch();
}

SettledModules FileWatcher::look(uint64_t now_ms) {
  if (!is_polling()) take_notices(now_ms);
  if (is_polling() || must_list_) compare(list_and_watch(), now_ms);
  SettledModules settled;
  settled.names = settling_.take_settled(now_ms);
  if (settled.names.empty()) return settled;
  // Once more, because links may lead elsewhere now: a change behind them after this moment shall
  // be seen. And what is loaded is at least as new as this listing.
  if (!is_polling()) compare(list_and_watch(), now_ms);
  for (const std::string& name : settled.names) {
    if (!list_.has_module(name)) settled.gone.insert(name);
  }
  return settled;
}

uint64_t FileWatcher::look_again_ms() const {
  if (settling_.is_idle()) return poll_ms_;
  return is_polling() ? std::min(poll_ms_, limits::kUnsettledPollMs) : limits::kUnsettledLookMs;
}

void FileWatcher::take_notices(uint64_t now_ms) {
  for (const Notice& notice : inotify_.read()) take_notice(notice, now_ms);
}

void FileWatcher::take_notice(const Notice& notice, uint64_t now_ms) {
  if ((notice.mask & IN_Q_OVERFLOW) != 0) must_list_ = must_take_all_ = true;
  if ((notice.mask & kLostMask) != 0) must_list_ = true;
  if (notice.name.empty()) return;
  if ((notice.mask & kEntryMask) != 0 && list_.is_structure(notice.folder, notice.name)) {
    must_list_ = true;
  }
  if ((notice.mask & IN_ISDIR) != 0) return;
  for (const std::string& module : list_.modules_of(notice.folder, notice.name)) {
    take_file_notice(notice, module, now_ms);
  }
}

void FileWatcher::take_file_notice(const Notice& notice, const std::string& module,
                                   uint64_t now_ms) {
  const std::string path = notice.folder + "/" + notice.name;
  told_.insert(path);
  const bool is_whole = (notice.mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0 ||
                        ((notice.mask & IN_CREATE) != 0 && is_complete(path));
  if (is_whole) {
    settling_.on_saved(module, path, now_ms);
  } else if ((notice.mask & (IN_DELETE | IN_MOVED_FROM)) != 0) {
    settling_.on_gone(module, path, now_ms);
  } else {
    settling_.on_written(module, path, now_ms);
  }
}

// Watches first, then lists: what changes between the two is seen by both.
WatchList FileWatcher::list_and_watch() {
  WatchList list = WatchList::make(options_.places, options_.suffixes);
  if (list.is_cut() && !std::exchange(has_warned_, true)) {
    log_.warn("reload", "more than " + std::to_string(limits::kWatchedFoldersMax) +
                            " folders to watch: changes in the others are not seen");
  }
  for (int listings = 0; !is_polling() && listings < kListingsMax; ++listings) {
    bool has_new = false;
    const Status watched = inotify_.watch(wishes_of(list), has_new);
    if (!watched.is_ok()) fall_back(watched);
    if (!has_new) break;
    list = WatchList::make(options_.places, options_.suffixes);
  }
  return list;
}

void FileWatcher::compare(const WatchList& now, uint64_t now_ms) {
  std::map<std::string, WatchedFile> changed;  // by path
  for (const auto& [path, file] : now.files()) {
    const auto before = list_.files().find(path);
    const bool is_same = before != list_.files().end() && before->second == file;
    if (!is_same || must_take_all_) changed[path] = file;
  }
  for (const auto& [path, file] : list_.files()) {
    if (!now.files().contains(path)) changed[path] = file;
  }
  for (const auto& [path, file] : changed) {
    const bool is_told = told_.contains(path) || told_.contains(file.target);
    if (!is_told) settling_.on_found(file.module, path, now_ms);
  }
  list_ = now;
  told_.clear();
  must_list_ = must_take_all_ = false;
}

// Notices that were not read are made good by the next listing.
void FileWatcher::fall_back(const Status& why) {
  inotify_.close();
  poll_ms_ = limits::kFallbackPollMs;
  log_.error("reload", why.message() + "; HRMR looks at the files every " +
                           std::to_string(poll_ms_ / 1000) + " s now");
}

}  // namespace hrmr::modules
