#include "net/unix_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <ctime>
#include <string_view>

#include "base/limits.h"

namespace hrmr::net {
namespace {

bool is_abstract(const std::string& path) { return path[0] == '@'; }

// A path that fits; its size for bind and connect is returned.
socklen_t address_of(const std::string& path, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const size_t header = offsetof(sockaddr_un, sun_path);
  if (!is_abstract(path)) return static_cast<socklen_t>(header + path.size() + 1);
  address.sun_path[0] = '\0';
  return static_cast<socklen_t>(header + path.size());
}

// Two servers that start at once must not both find that nobody listens. The lock is on the folder,
// so that it leaves no file behind; where it cannot be had, we go on without.
class FolderLock {
 public:
  explicit FolderLock(const std::string& path) {
    const size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    fd_.reset(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd_.is_open()) return;
    for (int tries = 0; tries < 100 && ::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0; ++tries) {
      const timespec pause{0, 10'000'000};
      ::nanosleep(&pause, nullptr);
    }
  }

 private:
  Fd fd_;
};

enum class Found { kNothing, kStale, kServer, kOther };

Found look_at(const std::string& path, const sockaddr_un& address, socklen_t size) {
  struct stat about {};
  if (::lstat(path.c_str(), &about) != 0) return Found::kNothing;  // or bind will say why not
  if (!S_ISSOCK(about.st_mode)) return Found::kOther;
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!probe.is_open()) return Found::kNothing;  // the same will be said of our own
  const bool is_refused =
      ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 &&
      errno == ECONNREFUSED;
  // Anything else, a full backlog or a missing permission, says that somebody may be there.
  return is_refused ? Found::kStale : Found::kServer;
}

Status taken(const std::string& path) {
  return Status::error("another server listens on " + path +
                       " already: stop it, or choose another path as unix (--unix)");
}

char* put_text(char* at, std::string_view text) {
  std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

}  // namespace

Result<UnixSocket> UnixSocket::open(const std::string& path, mode_t mode) {
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof address.sun_path || path == "@") {
    return Status::error("a Unix socket cannot be named '" + path + "': a path has 1 to " +
                         std::to_string(sizeof address.sun_path - 1) +
                         " bytes; choose another as unix (--unix)");
  }
  UnixSocket opened;
  opened.path_ = path;
  const Status status = opened.bind_and_listen(mode);
  if (!status.is_ok()) return status;
  return opened;
}

Status UnixSocket::bind_and_listen(mode_t mode) {
  sockaddr_un address{};
  const socklen_t size = address_of(path_, address);
  const FolderLock lock(path_);
  if (!is_abstract(path_)) {
    switch (look_at(path_, address, size)) {
      case Found::kNothing:
        break;
      case Found::kStale:
        if (::unlink(path_.c_str()) != 0) return errno_status("replace the old socket", path_);
        break;
      case Found::kServer:
        return taken(path_);
      case Found::kOther:
        return Status::error(path_ + " is there and is no socket: choose another as unix (--unix)");
    }
  }
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.is_open()) return errno_status("make", "a Unix socket");
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    return errno == EADDRINUSE ? taken(path_) : errno_status("listen on", path_);
  }
  struct stat about {};
  if (!is_abstract(path_)) {
    if (::lstat(path_.c_str(), &about) != 0) return errno_status("find", path_);
    device_ = about.st_dev;
    inode_ = about.st_ino;
    fd_ = std::move(fd);  // from here on close() removes the file
    // Nobody can connect before listen, so nobody sees it with other permissions.
    if (::chmod(path_.c_str(), mode) != 0) return errno_status("set the mode of", path_);
  } else {
    fd_ = std::move(fd);
  }
  if (::listen(fd_.get(), limits::kListenBacklog) != 0) return errno_status("listen on", path_);
  return Status::ok();
}

Result<Fd> UnixSocket::share() const {
  Fd fd(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd.is_open()) return errno_status("share", path_);
  return fd;
}

void UnixSocket::close() {
  if (!fd_.is_open()) return;
  if (inode_ != 0) {
    struct stat about {};
    const bool is_ours =
        ::lstat(path_.c_str(), &about) == 0 && about.st_dev == device_ && about.st_ino == inode_;
    if (is_ours) ::unlink(path_.c_str());
  }
  fd_.reset();
}

Peer unix_peer_of(int fd) {
  Peer peer{};
  peer.is_unix = peer.is_local = true;
  char* at = put_text(peer.name, "unix:");
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) {
    char* end = peer.name + sizeof peer.name - 1;
    at = put_text(at, "pid=");
    at = std::to_chars(at, end, who.pid).ptr;
    at = put_text(at, ",uid=");
    at = std::to_chars(at, end, who.uid).ptr;
  }
  peer.name_size = static_cast<uint8_t>(at - peer.name);
  return peer;
}

}  // namespace hrmr::net
