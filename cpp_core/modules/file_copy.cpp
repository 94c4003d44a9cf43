#include "modules/file_copy.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <utility>

#include "base/fd.h"

namespace hrmr::modules {

namespace {

constexpr size_t kCopyBytes = 64 * 1024;

// As many bytes as `size`, fewer only at the end of the file; -1: errno says why.
ssize_t read_fully(int fd, char* out, size_t size) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(fd, out + done, size - done);
    if (got == 0) break;
    if (got > 0) done += static_cast<size_t>(got);
    if (got < 0 && errno != EINTR) return -1;
  }
  return static_cast<ssize_t>(done);
}

bool write_fully(int fd, const char* bytes, size_t size) {
  while (size != 0) {
    const ssize_t written = ::write(fd, bytes, size);
    if (written < 0 && errno != EINTR) return false;
    if (written <= 0) continue;
    bytes += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

// O_NONBLOCK: opening a named pipe must not wait for its writer.
Result<Fd> open_regular(const std::string& path, struct stat& status) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.is_open()) return errno_status("open", path);
  if (::fstat(fd.get(), &status) != 0) return errno_status("stat", path);
  if (!S_ISREG(status.st_mode)) return Status::error(path + " is not a regular file");
  return fd;
}

bool is_same_time(const timespec& left, const timespec& right) {
  return left.tv_sec == right.tv_sec && left.tv_nsec == right.tv_nsec;
}

Status copy_bytes(const Fd& source, const std::string& from, const std::string& to) {
  const Fd target(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700));
  if (!target.is_open()) return errno_status("create", to);
  const auto buffer = std::make_unique<char[]>(kCopyBytes);
  for (;;) {
    const ssize_t got = read_fully(source.get(), buffer.get(), kCopyBytes);
    if (got < 0) return errno_status("read", from);
    if (got == 0) return Status::ok();
    if (!write_fully(target.get(), buffer.get(), static_cast<size_t>(got))) {
      return errno_status("write", to);
    }
  }
}

}  // namespace

Status copy_file(const std::string& from, const std::string& to) {
  struct stat before {};
  const Result<Fd> source = open_regular(from, before);
  if (!source.is_ok()) return source.status();
  if (::access(to.c_str(), F_OK) == 0) return Status::error("cannot create " + to + ": it exists");
  Status status = copy_bytes(source.value(), from, to);
  struct stat after {};
  if (status.is_ok() && ::fstat(source.value().get(), &after) != 0) {
    status = errno_status("stat", from);
  }
  if (status.is_ok() &&
      (before.st_size != after.st_size || !is_same_time(before.st_mtim, after.st_mtim))) {
    status = Status::error(from + " changed while it was read: it is still being written");
  }
  if (!status.is_ok()) ::unlink(to.c_str());
  return status;
}

bool has_same_bytes(const std::string& left, const std::string& right) {
  struct stat left_status {};
  struct stat right_status {};
  const Result<Fd> left_file = open_regular(left, left_status);
  const Result<Fd> right_file = open_regular(right, right_status);
  if (!left_file.is_ok() || !right_file.is_ok()) return false;
  if (left_status.st_size != right_status.st_size) return false;
  const auto left_bytes = std::make_unique<char[]>(kCopyBytes);
  const auto right_bytes = std::make_unique<char[]>(kCopyBytes);
  for (;;) {
    const ssize_t got = read_fully(left_file.value().get(), left_bytes.get(), kCopyBytes);
    if (got != read_fully(right_file.value().get(), right_bytes.get(), kCopyBytes)) return false;
    if (got <= 0) return got == 0;
    if (std::memcmp(left_bytes.get(), right_bytes.get(), static_cast<size_t>(got)) != 0) {
      return false;
    }
  }
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  struct stat status {};
  const Result<Fd> fd = open_regular(path, status);
  if (!fd.is_ok()) return fd.status();
  const auto size = static_cast<size_t>(status.st_size);
  if (size == 0) return MappedFile(nullptr, 0);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.value().get(), 0);
  if (address == MAP_FAILED) return errno_status("map", path);
  return MappedFile(static_cast<const char*>(address), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (address_ != nullptr) ::munmap(const_cast<char*>(address_), size_);
}

}  // namespace hrmr::modules
