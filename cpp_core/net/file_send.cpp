#include "net/file_send.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/limits.h"

namespace hrmr::net {
namespace {

// Keeps what was announced one slice ahead of what is sent.
void announce(FileRange& range) {
  const uint64_t end = range.offset + range.left;
  const uint64_t wanted = std::min<uint64_t>(range.offset + 2 * limits::kFileSliceBytes, end);
  const uint64_t from = std::max(range.announced, range.offset);
  const bool is_worth_it = wanted == end || wanted - from >= limits::kFileSliceBytes;
  if (wanted <= from || !is_worth_it) return;
  (void)::posix_fadvise(range.fd.get(), static_cast<off_t>(from), static_cast<off_t>(wanted - from),
                        POSIX_FADV_WILLNEED);
  range.announced = wanted;
}

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
  if (range.left > limits::kFileAnnounceBytes) announce(range);
  ssize_t sent = -1;
  do {
    auto offset = static_cast<off_t>(range.offset);
    sent = ::sendfile(socket, range.fd.get(), &offset, bytes);
    if (sent < 0 && (errno == EINVAL || errno == ENOSYS)) sent = copy_some(socket, range, bytes);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return FileSent::kFull;
  if (sent <= 0) return FileSent::kBroken;
  range.offset += static_cast<uint64_t>(sent);
  range.left -= static_cast<uint64_t>(sent);
  return FileSent::kSome;
}

}  // namespace hrmr::net
