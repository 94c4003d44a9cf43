#include "net/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "net/unix_socket.h"

namespace hrmr::net {
namespace {

// accept(2): errors of the new connection, not of the listener, that Linux passes on.
bool is_peers_fault(int code) {
  switch (code) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:  // a firewall rule
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

}  // namespace

Listener::Listener(EventLoop& loop, Log& log, AcceptHandler& handler)
    : loop_(loop), log_(log), handler_(handler) {}

Listener::~Listener() { close(); }

Status Listener::attach(Fd listening) {
  HRMR_CHECK(!listening_.is_open());
  // Edge-triggered: while we pause, the peers that wait must not wake the loop again and again.
  Status status = loop_.add(listening.get(), *this, EPOLLIN | EPOLLET);
  if (!status.is_ok()) return status;
  listening_ = std::move(listening);
  open_reserve();
  return status;
}

void Listener::close() {
  if (!listening_.is_open()) return;
  loop_.remove(listening_.get(), *this);
  loop_.timers().disarm(*this);
  listening_.reset();
  reserve_.reset();
}

void Listener::on_event(uint32_t) {
  if (!is_armed()) accept_some();  // the end of the pause looks anyway
}

void Listener::on_timer() {
  if (!reserve_.is_open()) open_reserve();
  accept_some();
}

void Listener::accept_some() {
  for (int i = 0; i < limits::kAcceptsPerTurn; ++i) {
    if (!accept_one()) return;
  }
  loop_.schedule(*this);
}

bool Listener::accept_one() {
  // The handler may have closed us.
  if (!listening_.is_open()) return false;
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  Fd fd(::accept4(listening_.get(), reinterpret_cast<sockaddr*>(&address), &size,
                  SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.is_open()) {
    if (errno == EAGAIN) {
      // The kernel takes a descriptor before it looks for a peer: so there are some again.
      if (std::exchange(is_exhausted_, false)) log_.info("server", "accepting connections again");
      return false;
    }
    if (is_peers_fault(errno)) return true;
    pause(errno);
    return false;
  }
  const bool is_unix = address.ss_family == AF_UNIX;
  Peer peer = is_unix ? unix_peer_of(fd.get()) : peer_of(address);
  peer.is_local = peer.is_local || is_own_address(fd.get(), address);
  handler_.on_accepted(std::move(fd), peer);
  return true;
}

void Listener::pause(int code) {
  // EMFILE: this process has no descriptor left; ENFILE: the machine has none; ENOBUFS, ENOMEM: no
  // memory for sockets. Anything else is unheard of, and no reason to spin or to die either.
  if (!is_exhausted_) {
    is_exhausted_ = true;
    std::string message = "cannot accept connections: ";
    message.append(std::strerror(code)).append("; new ones wait until others are closed");
    if (code == EMFILE) message.append(" (raise the limit with ulimit -n)");
    log_.warn("server", std::move(message));
  }
  if (code == EMFILE || code == ENFILE) refuse_one();
  loop_.timers().arm(*this, limits::kAcceptPauseMs);
}

void Listener::refuse_one() {
  if (!reserve_.is_open()) return;
  reserve_.reset();
  Fd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC)).reset();
  open_reserve();  // fails when another thread was faster; the end of the pause tries again
}

void Listener::open_reserve() { reserve_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace hrmr::net
