#include "net/file_send.h"

#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace hrmr::net {
namespace {

// For file systems that have no sendfile.
ssize_t copy_some(int socket, const FileRange& range, size_t bytes) {
  char room[16 * 1024];
  const ssize_t got =
      ::pread(range.fd.get(), room, std::min(bytes, sizeof room), static_cast<off_t>(range.offset));
  if (got <= 0) return got;
  return ::send(socket, room, static_cast<size_t>(got), MSG_NOSIGNAL);
}

}  // namespace

FileSent send_some(int socket, FileRange& range, size_t bytes_max) {
  const auto bytes = static_cast<size_t>(std::min<uint64_t>(range.left, bytes_max));
  ssize_t sent = -1;
  do {
    auto offset = static_cast<off_t>(range.offset);
    sent = ::sendfile(socket, range.fd.get(), &offset, bytes);
    if (sent < 0 && (errno == EINVAL || errno == ENOSYS)) sent = copy_some(socket, range, bytes);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    // Where nothing is told, it would only be read once more.
    if (range.residency != FileRange::Residency::kNotTold) range.ready = 0;
    return FileSent::kFull;
  }
  if (sent <= 0) return FileSent::kBroken;
  range.offset += static_cast<uint64_t>(sent);
  range.left -= static_cast<uint64_t>(sent);
  return FileSent::kSome;
}

}  // namespace hrmr::net
