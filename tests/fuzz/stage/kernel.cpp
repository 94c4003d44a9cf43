#include "kernel.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <ctime>
#include <memory>
#include <utility>

#include "base/check.h"

namespace hrmr::fuzz {
namespace {

thread_local Kernel* current_kernel = nullptr;

int fail(int code) {
  errno = code;
  return -1;
}

}  // namespace

Kernel::Kernel(Player& player) : player_(player) {
  HRMR_CHECK(current_kernel == nullptr);
  current_kernel = this;
}

Kernel::~Kernel() {
  HRMR_CHECK(!has_open());
  current_kernel = nullptr;
}

Kernel* Kernel::current() { return current_kernel; }

int Kernel::make(bool is_eventfd) {
  const int fd = next_fd_++;
  watched_[fd].is_eventfd = is_eventfd;
  return fd;
}

Socket& Kernel::open_socket(std::string_view sent) {
  const int fd = make(false);
  Socket& socket = sockets_[fd];
  socket.fd = fd;
  socket.sent = sent;
  watched_[fd].socket = &socket;
  return socket;
}

Kernel::Watched& Kernel::open_one(int fd) {
  Watched& watched = watched_.at(fd);
  HRMR_CHECK(watched.is_open);
  return watched;
}

Socket& Kernel::socket_of(int fd) {
  Socket* socket = open_one(fd).socket;
  HRMR_CHECK(socket != nullptr);
  return *socket;
}

bool Kernel::has_open() const {
  return std::any_of(watched_.begin(), watched_.end(),
                     [](const auto& each) { return each.second.is_open; });
}

void Kernel::mark(int fd, Watched& watched) {
  if (!watched.is_open || watched.has_edge) return;
  watched.has_edge = true;
  ready_.push_back(fd);
}

void Kernel::edge(const Socket& socket, uint32_t also) {
  Watched& watched = watched_.at(socket.fd);
  watched.also |= also;
  mark(socket.fd, watched);
}

void Kernel::arrive(Socket& socket, size_t bytes) {
  if (socket.has_end || socket.is_reset) return;
  bytes = std::min(bytes, socket.sent.size() - socket.arrived);
  if (bytes == 0) return;
  socket.arrived += bytes;
  edge(socket);
}

void Kernel::open_window(Socket& socket, size_t bytes) {
  socket.window = bytes > SIZE_MAX - socket.window ? SIZE_MAX : socket.window + bytes;
  Watched& watched = watched_.at(socket.fd);
  if (std::exchange(watched.lacks_space, false)) mark(socket.fd, watched);
}

int Kernel::close(int fd) {
  Watched& watched = open_one(fd);
  HRMR_CHECK(!watched.is_added || watched.is_eventfd);  // a late event would name what is gone
  watched.is_open = false;
  if (watched.socket != nullptr) watched.socket->is_open = false;
  std::erase(ready_, fd);
  return 0;
}

int Kernel::control(int operation, int fd, const epoll_event* event) {
  Watched& watched = open_one(fd);
  HRMR_CHECK((operation == EPOLL_CTL_ADD) == !watched.is_added);
  watched.is_added = operation != EPOLL_CTL_DEL;
  if (operation == EPOLL_CTL_DEL) {
    std::erase(ready_, fd);
    watched.has_edge = false;
    return 0;
  }
  watched.event = *event;
  HRMR_CHECK((event->events & EPOLLET) != 0);  // the only kind that is played here
  mark(fd, watched);                           // what is true already is reported at once
  return 0;
}

uint32_t Kernel::readiness(const Watched& watched) {
  if (watched.is_eventfd) return watched.also;
  const Socket& socket = *watched.socket;
  uint32_t ready = watched.also;
  if (socket.read < socket.arrived) ready |= EPOLLIN;
  if (socket.has_end) ready |= EPOLLIN | EPOLLRDHUP;
  if (socket.has_end && socket.is_shut) ready |= EPOLLHUP;
  if (socket.is_reset) ready |= EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLOUT;
  if (socket.window != 0) ready |= EPOLLOUT;
  return ready;
}

int Kernel::deliver(epoll_event* events, int most) {
  std::vector<int> edges = std::exchange(ready_, {});
  if (is_reversed_) std::reverse(edges.begin(), edges.end());
  int count = 0;
  for (const int fd : edges) {
    Watched& watched = watched_.at(fd);
    if (!watched.is_added || count == most) {
      ready_.push_back(fd);  // keeps its edge
      continue;
    }
    watched.has_edge = false;
    const uint32_t wanted = watched.event.events | EPOLLERR | EPOLLHUP;
    const uint32_t ready = readiness(watched) & wanted;
    watched.also = 0;
    // As tcp_poll does: who was told that there is no room is told when there is some.
    if (watched.socket != nullptr && watched.socket->window == 0) watched.lacks_space = true;
    if (ready == 0) continue;
    events[count] = watched.event;
    events[count].events = ready;
    ++count;
  }
  return count;
}

int Kernel::wait(epoll_event* events, int most, int limit_ms) {
  const uint64_t until_ms = limit_ms < 0 ? UINT64_MAX : now_ms_ + static_cast<uint64_t>(limit_ms);
  for (;;) {
    const bool goes_on = player_.step(limit_ms);
    if (std::exchange(interrupts_wait_, false)) return fail(EINTR);
    const int count = deliver(events, most);
    if (count != 0 || now_ms_ >= until_ms) return count;
    if (goes_on) continue;
    // A loop that waits for ever behind the last step would never be heard of again.
    HRMR_CHECK(limit_ms >= 0);
    now_ms_ = until_ms;
    return 0;
  }
}

ssize_t Kernel::receive(int fd, char* room, size_t bytes) {
  Socket& socket = socket_of(fd);
  HRMR_CHECK(bytes != 0);  // would read as the end
  if (std::exchange(socket.interrupts_read, false)) return fail(EINTR);
  size_t end = socket.arrived;
  if (socket.read < socket.urgent_at) end = std::min(end, socket.urgent_at);
  const size_t count = std::min(bytes, end - socket.read);
  // What came before a reset can be read; then it is told, once.
  if (count == 0 && socket.is_reset && !std::exchange(socket.has_told_reset, true)) {
    return fail(ECONNRESET);
  }
  if (count == 0) return socket.has_end || socket.is_reset ? 0 : fail(EAGAIN);
  std::memcpy(room, socket.sent.data() + socket.read, count);
  socket.read += count;
  return static_cast<ssize_t>(count);
}

ssize_t Kernel::send(int fd, const char* bytes, size_t size) {
  Socket& socket = socket_of(fd);
  HRMR_CHECK(!socket.is_shut && size != 0);
  if (std::exchange(socket.interrupts_write, false)) return fail(EINTR);
  if (socket.is_broken || socket.is_reset) return fail(EPIPE);
  const size_t count = std::min(size, socket.window);
  if (count < size) watched_.at(fd).lacks_space = true;
  if (count == 0) return fail(EAGAIN);
  if (socket.window != SIZE_MAX) socket.window -= count;
  socket.taken.append(bytes, count);
  return static_cast<ssize_t>(count);
}

ssize_t Kernel::send_file(int fd, int file, off_t* offset, size_t size) {
  const Socket& socket = socket_of(fd);
  if (socket.lacks_files) return fail(EINVAL);
  if (socket.loses_file) return 0;
  const std::unique_ptr<char[]> room(new char[size]);
  const ssize_t got = ::pread(file, room.get(), size, *offset);
  HRMR_CHECK(got > 0);
  const ssize_t sent = send(fd, room.get(), static_cast<size_t>(got));
  if (sent > 0) *offset += sent;
  return sent;
}

ssize_t Kernel::read_file(int file, const iovec* room, off_t offset, int flags) const {
  if (are_files_cold_ && (flags & RWF_NOWAIT) != 0) return fail(EAGAIN);
  return ::preadv(file, room, 1, offset);
}

int Kernel::shut_down(int fd, int how) {
  Socket& socket = socket_of(fd);
  if (socket.is_reset) return fail(ENOTCONN);
  if (how != SHUT_RD) socket.is_shut = true;
  if (socket.has_end) edge(socket);
  return 0;
}

// connect(2) to AF_UNSPEC.
int Kernel::disconnect(int fd) {
  Socket& socket = socket_of(fd);
  socket.is_aborted = socket.is_reset = true;
  return 0;
}

int Kernel::set_option(int fd) {
  static_cast<void>(socket_of(fd));
  return 0;
}

int Kernel::unsent(int fd) { return socket_of(fd).has_unacknowledged ? 1 : 0; }

ssize_t Kernel::wake(int fd) {
  Watched& watched = open_one(fd);
  HRMR_CHECK(watched.is_eventfd);
  watched.also = EPOLLIN;
  mark(fd, watched);
  return sizeof(uint64_t);
}

}  // namespace hrmr::fuzz

// What --wrap makes of the calls. Those of other threads and on other descriptors go where they
// went: the fuzzer's own runtime is linked with the same option.
extern "C" {

using hrmr::fuzz::Kernel;
using hrmr::fuzz::kWallS;

ssize_t __real_recv(int fd, void* room, size_t bytes, int flags);
ssize_t __wrap_recv(int fd, void* room, size_t bytes, int flags) {
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr || !kernel->owns(fd)) return __real_recv(fd, room, bytes, flags);
  return kernel->receive(fd, static_cast<char*>(room), bytes);
}

ssize_t __real_send(int fd, const void* bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void* bytes, size_t size, int flags) {
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr || !kernel->owns(fd)) return __real_send(fd, bytes, size, flags);
  HRMR_CHECK((flags & MSG_NOSIGNAL) != 0);
  return kernel->send(fd, static_cast<const char*>(bytes), size);
}

ssize_t __real_sendfile(int fd, int file, off_t* offset, size_t size);
ssize_t __wrap_sendfile(int fd, int file, off_t* offset, size_t size) {
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr || !kernel->owns(fd)) return __real_sendfile(fd, file, offset, size);
  return kernel->send_file(fd, file, offset, size);
}

ssize_t __real_preadv2(int file, const iovec* room, int rooms, off_t offset, int flags);
ssize_t __wrap_preadv2(int file, const iovec* room, int rooms, off_t offset, int flags) {
  const Kernel* kernel = Kernel::current();
  if (kernel == nullptr || rooms != 1) return __real_preadv2(file, room, rooms, offset, flags);
  return kernel->read_file(file, room, offset, flags);
}

int __real_setsockopt(int fd, int level, int name, const void* value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr || !kernel->owns(fd))
    return __real_setsockopt(fd, level, name, value, size);
  return kernel->set_option(fd);
}

int __real_connect(int fd, const sockaddr* address, socklen_t size);
int __wrap_connect(int fd, const sockaddr* address, socklen_t size) {
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr || !kernel->owns(fd)) return __real_connect(fd, address, size);
  HRMR_CHECK_EQ(address->sa_family, AF_UNSPEC);
  return kernel->disconnect(fd);
}

int __real_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how) {
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr || !kernel->owns(fd)) return __real_shutdown(fd, how);
  return kernel->shut_down(fd, how);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void* argument = va_arg(arguments, void*);
  va_end(arguments);
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr || !kernel->owns(fd)) return __real_ioctl(fd, request, argument);
  HRMR_CHECK_EQ(request, SIOCOUTQ);
  *static_cast<int*>(argument) = kernel->unsent(fd);
  return 0;
}

int __real_close(int fd);
int __wrap_close(int fd) {
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr || !kernel->owns(fd)) return __real_close(fd);
  return kernel->close(fd);
}

int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags) {
  Kernel* kernel = Kernel::current();
  return kernel == nullptr ? __real_epoll_create1(flags) : kernel->make(false);
}

int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags) {
  Kernel* kernel = Kernel::current();
  return kernel == nullptr ? __real_eventfd(count, flags) : kernel->make(true);
}

int __real_epoll_ctl(int epoll, int operation, int fd, epoll_event* event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr || !kernel->owns(fd)) return __real_epoll_ctl(epoll, operation, fd, event);
  return kernel->control(operation, fd, event);
}

int __real_epoll_wait(int epoll, epoll_event* events, int most, int limit_ms);
int __wrap_epoll_wait(int epoll, epoll_event* events, int most, int limit_ms) {
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr) return __real_epoll_wait(epoll, events, most, limit_ms);
  return kernel->wait(events, most, limit_ms);
}

ssize_t __real_write(int fd, const void* bytes, size_t size);
ssize_t __wrap_write(int fd, const void* bytes, size_t size) {
  Kernel* kernel = Kernel::current();
  if (kernel == nullptr || !kernel->owns(fd)) return __real_write(fd, bytes, size);
  return kernel->wake(fd);
}

int __real_clock_gettime(clockid_t clock, timespec* now);
int __wrap_clock_gettime(clockid_t clock, timespec* now) {
  const Kernel* kernel = Kernel::current();
  if (kernel == nullptr) return __real_clock_gettime(clock, now);
  const bool is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;
  now->tv_sec = is_wall ? kWallS : static_cast<time_t>(kernel->now_ms() / 1000);
  now->tv_nsec = static_cast<long>(kernel->now_ms() % 1000 * 1'000'000);
  return 0;
}

}  // extern "C"
