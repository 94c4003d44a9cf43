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
// Inside, and made after the folder was locked: a folder that merely has such a name is not ours.
constexpr const char* kMarkName = ".private-folder-of-hrmr";

bool is_private_folder_name(const std::string& name) {
  const std::string_view fixed = kFolderPattern.substr(0, kFolderPattern.find('X'));
  return name.size() == kFolderPattern.size() && starts_with(name, fixed);
}

// A lock on the folder itself; not open when somebody else has it. systemd-tmpfiles leaves locked
// folders alone too, however old they are.
Fd lock_folder(const fs::path& folder) {
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  if (fd.is_open() && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) fd.reset();
  return fd;
}

// Those of this user that bear the mark and that nobody holds the lock of.
void remove_stale_folders(const fs::path& parent) {
  std::error_code error;
  std::vector<fs::path> folders;
  for (fs::directory_iterator at(parent, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    if (is_private_folder_name(at->path().filename())) folders.push_back(at->path());
  }
  for (const fs::path& folder : folders) {
    struct stat status {};
    if (::lstat(folder.c_str(), &status) != 0 || status.st_uid != ::geteuid()) continue;
    if (!fs::exists(folder / kMarkName, error)) continue;
    if (lock_folder(folder).is_open()) fs::remove_all(folder, error);
  }
}

int is_inside(dl_phdr_info* info, size_t, void* folder) {
  return starts_with(info->dlpi_name, *static_cast<const std::string*>(folder)) ? 1 : 0;
}

}  // namespace

Status PrivateFolder::open() {
  std::error_code error;
  // Somebody may have emptied the folder of temporary files under us.
  if (!path_.empty() && fs::exists(path_, error)) return Status::ok();
  const fs::path parent = fs::absolute(fs::temp_directory_path(error), error);
  if (error) return Status::error("no folder for temporary files: " + error.message());
  remove_stale_folders(parent);
  std::string folder = parent / kFolderPattern;
  if (::mkdtemp(folder.data()) == nullptr) return errno_status("make a folder in", parent.string());
  lock_ = lock_folder(folder);
  const std::string mark = folder + "/" + kMarkName;
  const Fd marked(::open(mark.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!lock_.is_open() || !marked.is_open()) {
    Status status = errno_status("lock", folder);
    fs::remove_all(folder, error);
    return status;
  }
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
