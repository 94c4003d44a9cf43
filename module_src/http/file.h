// File: an owned descriptor, and the one way to open a path that comes from outside. Blocks: never
// on an event loop.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef SYS_openat2
#include <linux/openat2.h>
#endif

#include <cerrno>
#include <string>
#include <utility>

namespace http {

class File {
 public:
  File() = default;
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

// What tells one content of a file from another, as far as the kernel tells it.
struct Identity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size = 0;
  int64_t modified_ns = 0;  // since 1970
  int64_t changed_ns = 0;   // of the inode: also by chmod, a rename, or a forged modification time

  friend bool operator==(const Identity& left, const Identity& right) {
    return left.device == right.device && left.inode == right.inode && left.size == right.size &&
           left.modified_ns == right.modified_ns && left.changed_ns == right.changed_ns;
  }
  friend bool operator!=(const Identity& left, const Identity& right) { return !(left == right); }
};

inline int64_t nanoseconds_of(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

inline Identity identity_of(const struct stat& facts) {
  return {facts.st_dev, facts.st_ino, static_cast<uint64_t>(facts.st_size),
          nanoseconds_of(facts.st_mtim), nanoseconds_of(facts.st_ctim)};
}

// Whether the file can change once more without looking changed: its time stamps come from a clock
// that ticks every few milliseconds, or, where a file system keeps whole seconds, every second or
// two. A time in the future was set by hand; the next write sets it back.
inline bool is_settled(const Identity& identity, int64_t now_ns) {
  constexpr int64_t kTickNs = 50'000'000;
  constexpr int64_t kCoarseNs = 2'500'000'000;
  const bool is_coarse =
      identity.modified_ns % 1'000'000'000 == 0 && identity.changed_ns % 1'000'000'000 == 0;
  const int64_t bound = is_coarse ? kCoarseNs : kTickNs;
  const auto is_old = [&](int64_t time_ns) {
    return now_ns - time_ns > bound || time_ns - now_ns > bound;
  };
  return is_old(identity.modified_ns) && is_old(identity.changed_ns);
}

namespace detail {

// O_NONBLOCK: opening a FIFO must not wait for its writer.
constexpr int kOpenFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

// For kernels (before 5.6) and sandboxes without openat2: one step at a time, and no symbolic
// link at all, since where one leads could not be told without a race.
inline int open_step_by_step(int root, const std::string& path) {
  File folder(::openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  size_t start = 0;
  while (folder.is_open()) {
    const size_t slash = path.find('/', start);
    const std::string name = path.substr(start, slash - start);
    if (slash == std::string::npos)
      return ::openat(folder.fd(), name.c_str(), kOpenFlags | O_NOFOLLOW);
    folder =
        File(::openat(folder.fd(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    start = slash + 1;
  }
  return -1;
}

}  // namespace detail

// Opens `path`, relative to `root` and not empty, for reading, and only if the walk to it stays
// below `root`. A descriptor, or -1 with errno.
inline int open_beneath(int root, const char* path) {
#ifdef SYS_openat2
  open_how how{};
  how.flags = detail::kOpenFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: something was renamed during the walk, and the kernel cannot tell whether it stayed
  // below; so ask again, not for ever.
  for (int tries = 0; tries < 16; ++tries) {
    const long fd = ::syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    if (errno == EINTR) continue;
    if (errno == ENOSYS || errno == EPERM) break;
    if (errno != EAGAIN) return -1;
  }
  if (errno == EAGAIN) return -1;
#endif
  return detail::open_step_by_step(root, path);
}

}  // namespace http
