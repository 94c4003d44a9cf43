#include "modules/private_folder.h"

#include <fcntl.h>
#include <link.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/text.h"

namespace hrmr::modules {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFolderPattern = "hrmr-XXXXXX";
constexpr const char* kLockName = "lock";

bool is_private_folder_name(const std::string& name) {
  const std::string_view fixed = kFolderPattern.substr(0, kFolderPattern.find('X'));
  return name.size() == kFolderPattern.size() && starts_with(name, fixed);
}

// A folder of this user, that nobody holds the lock of any more. One without a lock file is being
// made by somebody right now.
bool is_stale(const fs::path& folder) {
  struct stat status {};
  if (::lstat(folder.c_str(), &status) != 0) return false;
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid()) return false;
  const Fd lock(::open((folder / kLockName).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  return lock.is_open() && ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0;
}

void remove_stale_folders(const fs::path& parent) {
  std::error_code error;
  std::vector<fs::path> stale;
  for (fs::directory_iterator at(parent, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    const fs::path& folder = at->path();
    if (is_private_folder_name(folder.filename()) && is_stale(folder)) stale.push_back(folder);
  }
  for (const fs::path& folder : stale) fs::remove_all(folder, error);
}

int is_inside(dl_phdr_info* info, size_t, void* folder) {
  return starts_with(info->dlpi_name, *static_cast<const std::string*>(folder)) ? 1 : 0;
}

}  // namespace

Status PrivateFolder::open() {
  if (!path_.empty()) return Status::ok();
  std::error_code error;
  const fs::path parent = fs::absolute(fs::temp_directory_path(error), error);
  if (error) return Status::error("no folder for temporary files: " + error.message());
  remove_stale_folders(parent);
  std::string folder = parent / kFolderPattern;
  if (::mkdtemp(folder.data()) == nullptr) return errno_status("make a folder in", parent.string());
  // Locked before it gets its name, so that nobody finds it unlocked and takes it for stale.
  const std::string lock = folder + "/" + kLockName;
  const std::string new_lock = lock + ".new";
  Fd fd(::open(new_lock.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd.is_open() || ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0 ||
      ::rename(new_lock.c_str(), lock.c_str()) != 0) {
    const Status status = errno_status("lock", lock);
    fs::remove_all(folder, error);
    return status;
  }
  lock_ = std::move(fd);
  path_ = folder;
  return Status::ok();
}

PrivateFolder::~PrivateFolder() {
  if (path_.empty()) return;
  std::string inside = path_ + "/";
  if (::dl_iterate_phdr(is_inside, &inside) != 0) {
    // The lock stays with the process; the next server that starts removes the folder.
    static_cast<void>(lock_.release());
    return;
  }
  std::error_code error;
  fs::remove_all(path_, error);
}

}  // namespace hrmr::modules
