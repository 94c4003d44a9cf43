// UnixSocket: a listening Unix socket and its place in the file system.
//
// The file is made with its permissions before anybody can connect, replaces one that a server left
// behind when it died, and is removed again, unless it is another server's by then. A path that
// begins with '@' is a name of Linux's abstract kind, which has no file and no permissions: whoever
// runs in the same network namespace may connect.
//
// Threads: one at a time.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "base/fd.h"
#include "base/status.h"
#include "net/socket.h"

namespace hrmr::net {

class UnixSocket {
 public:
  UnixSocket() = default;
  ~UnixSocket() { close(); }
  UnixSocket(UnixSocket&& other) noexcept { swap(other); }
  UnixSocket& operator=(UnixSocket&& other) noexcept {
    UnixSocket taken(std::move(other));
    swap(taken);
    return *this;
  }
  UnixSocket(const UnixSocket&) = delete;
  UnixSocket& operator=(const UnixSocket&) = delete;

  // Listening and non-blocking. `path`: 1 to 107 bytes; `mode`: permission bits, 0600. The error
  // says what to do: "another server listens on /run/hrmr.sock already: ...".
  static Result<UnixSocket> open(const std::string& path, mode_t mode);

  bool is_open() const { return fd_.is_open(); }
  // One more descriptor of the same socket, for a loop of its own: whichever is fastest accepts.
  Result<Fd> share() const;
  // Ours is closed, and the file removed; those that were shared go on until they are closed too.
  void close();

 private:
  void swap(UnixSocket& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(path_, other.path_);
    std::swap(device_, other.device_);
    std::swap(inode_, other.inode_);
  }
  Status bind_and_listen(mode_t mode);

  Fd fd_;
  std::string path_;
  dev_t device_ = 0;  // of the file, so that it is known again
  ino_t inode_ = 0;   // 0: there is none
};

// Who is at the other end of an accepted Unix socket: "unix:pid=41,uid=1000", as they were when it
// connected. No allocation, one system call.
Peer unix_peer_of(int fd);

}  // namespace hrmr::net
