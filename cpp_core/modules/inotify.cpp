#include "modules/inotify.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "base/limits.h"

namespace hrmr::modules {

namespace {

// " (128)", or nothing where it cannot be read, as when there are no descriptors left.
std::string value_of(const std::string& limit) {
  const std::string path = "/proc/sys/fs/inotify/" + limit;
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 32> value{};
  const ssize_t got = fd.is_open() ? ::read(fd.get(), value.data(), value.size()) : 0;
  if (got <= 0) return "";
  const std::string text(value.data(), static_cast<size_t>(got));
  return " (" + text.substr(0, text.find('\n')) + ")";
}

Status limit_status(const std::string& limit, const std::string& more, int code) {
  std::string message = "cannot watch the modules' folders: ";
  message.append(std::strerror(code)).append(": the limit fs.inotify.").append(limit);
  message.append(value_of(limit)).append(more).append(" is reached; raise it with `sysctl ");
  message.append("fs.inotify.").append(limit).append("=...`, or use watch_poll (--watch-poll)");
  return Status::error(std::move(message));
}

bool is_no_folder(int code) {
  // One that may not be read is none either: the scan warns of it.
  return code == ENOENT || code == ENOTDIR || code == EACCES || code == ELOOP;
}

}  // namespace

Status Inotify::open() {
  fd_ = Fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (fd_.is_open()) return Status::ok();
  const int code = errno;
  if (code != EMFILE) return errno_status("watch", "the modules' folders", code);
  return limit_status("max_user_instances", ", or that of open files (ulimit -n),", code);
}

void Inotify::close() {
  fd_.reset();
  watched_.clear();
  folders_of_.clear();
}

Status Inotify::watch(const std::map<std::string, Wish>& folders, bool& has_new) {
  has_new = false;
  std::vector<std::string> unwanted;
  for (const auto& [folder, watched] : watched_) {
    const auto wanted = folders.find(folder);
    if (wanted == folders.end() || wanted->second.id != watched.wish.id) unwanted.push_back(folder);
  }
  for (const std::string& folder : unwanted) drop(folder);
  for (const auto& [folder, wish] : folders) {
    const auto known = watched_.find(folder);
    if (known != watched_.end() && (wish.mask & ~known->second.wish.mask) == 0) continue;
    Status added = add(folder, wish, has_new);
    if (!added.is_ok()) return added;
  }
  return Status::ok();
}

Status Inotify::add(const std::string& folder, const Wish& wish, bool& has_new) {
  // IN_MASK_ADD: another path may lead to the same folder and want something else of it.
  // IN_EXCL_UNLINK: what happens to a file that was replaced is not told under its old name.
  const uint32_t mask = wish.mask | IN_MASK_ADD | IN_EXCL_UNLINK | IN_ONLYDIR;
  const int descriptor = ::inotify_add_watch(fd_.get(), folder.c_str(), mask);
  if (descriptor < 0) {
    const int code = errno;
    if (is_no_folder(code)) return Status::ok();
    if (code == ENOSPC) return limit_status("max_user_watches", "", code);
    return errno_status("watch", folder, code);
  }
  const auto before = watched_.find(folder);
  // The path leads elsewhere since it was looked at.
  if (before != watched_.end() && before->second.descriptor != descriptor) drop(folder);
  watched_[folder] = {descriptor, wish};
  folders_of_[descriptor].insert(folder);
  has_new = true;
  return Status::ok();
}

void Inotify::drop(const std::string& folder) {
  const int descriptor = watched_.at(folder).descriptor;
  watched_.erase(folder);
  std::set<std::string>& sharing = folders_of_[descriptor];
  sharing.erase(folder);
  if (!sharing.empty()) return;
  folders_of_.erase(descriptor);
  // It fails when the folder has gone, which took the watch along.
  ::inotify_rm_watch(fd_.get(), descriptor);
}

void Inotify::forget(int descriptor) {
  const auto found = folders_of_.find(descriptor);
  if (found == folders_of_.end()) return;
  for (const std::string& folder : found->second) watched_.erase(folder);
  folders_of_.erase(found);
}

std::vector<Notice> Inotify::read() {
  std::vector<Notice> notices;
  alignas(inotify_event) std::array<char, 16 * 1024> room;
  for (int reads = 0; reads < limits::kNoticeReadsMax; ++reads) {
    const ssize_t got = ::read(fd_.get(), room.data(), room.size());
    if (got <= 0) break;
    for (const char* at = room.data(); at < room.data() + got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(at);
      at += sizeof *event + event->len;
      const std::string name = event->len == 0 ? "" : event->name;
      if ((event->mask & IN_Q_OVERFLOW) != 0) notices.push_back({"", "", event->mask});
      const auto folders = folders_of_.find(event->wd);
      if (folders == folders_of_.end()) continue;
      for (const std::string& folder : folders->second) {
        notices.push_back({folder, name, event->mask});
      }
      if ((event->mask & IN_IGNORED) != 0) forget(event->wd);
    }
  }
  return notices;
}

}  // namespace hrmr::modules
