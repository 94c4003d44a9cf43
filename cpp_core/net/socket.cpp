#include "net/socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

#include "base/limits.h"

namespace hrmr::net {
namespace {

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

std::string host_of(const Address& address) {
  return address.host.empty() ? "0.0.0.0" : address.host;
}

Result<AddressList> resolve(const Address& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const std::string host = host_of(address);
  addrinfo* found = nullptr;
  const int code = getaddrinfo(host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (code == 0) return AddressList(found, &freeaddrinfo);
  const char* reason = code == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(code);
  return Status::error("host " + host + " does not resolve (" + reason +
                       "): choose an address of this machine as host (--host)");
}

Status bind_error(const Address& address, int code) {
  const std::string host = host_of(address);
  const std::string port = std::to_string(address.port);
  switch (code) {
    case EADDRINUSE:
      return Status::error(
          "port " + port + " on " + host +
          " is already in use: choose another as port (--port), or 0 for any free one");
    case EACCES:
      return Status::error("port " + port + " on " + host +
                           " needs a privilege: choose one from 1024 on as port (--port), or grant "
                           "CAP_NET_BIND_SERVICE");
    case EADDRNOTAVAIL:
      return Status::error(
          "host " + host +
          " is not an address of this machine: choose another as host (--host), or "
          "0.0.0.0 for all");
    default:
      return errno_status("listen on", host + " port " + port, code);
  }
}

bool set_option(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// The two never meet: an IPv6 address that begins with ffff is a multicast one.
uint64_t network_of(const in_addr& address) {
  return 0xffff'0000'0000'0000 | ntohl(address.s_addr);
}
uint64_t network_of(const in6_addr& address) {
  uint64_t network = 0;
  for (int i = 0; i < 8; ++i) network = network << 8 | address.s6_addr[i];
  return network != 0 ? network : 1;  // ::1
}

// Bound, not listening yet. Without a descriptor errno says why.
Fd bind_socket(const addrinfo& where, bool share_port) {
  Fd fd(::socket(where.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd.is_open()) return fd;
  // A restarted server must not wait for its predecessor's connections in TIME_WAIT.
  bool is_good = set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (share_port) is_good = is_good && set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (where.ai_family == AF_INET6) {
    is_good = is_good && set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  }
  is_good = is_good && ::bind(fd.get(), where.ai_addr, where.ai_addrlen) == 0;
  if (!is_good) {
    const int code = errno;  // close may change it
    fd.reset();
    errno = code;
  }
  return fd;
}

// 0, or the errno value that says why there is no socket.
int listen_on(const addrinfo& where, const Address& address, bool probe_first, Fd& out) {
  if (address.share_port && probe_first && address.port != 0) {
    // A listening socket of anybody refuses one that does not share; ours is closed right here.
    if (!bind_socket(where, false).is_open()) return errno;
  }
  Fd fd = bind_socket(where, address.share_port);
  if (!fd.is_open()) return errno;
  // Accepted sockets inherit it on Linux, which saves a system call for each.
  if (!set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1)) return errno;
  // Two sockets that have SO_REUSEADDR may both bind; the second to listen is refused here.
  if (::listen(fd.get(), limits::kListenBacklog) != 0) return errno;
  out = std::move(fd);
  return 0;
}

char* put_text(char* at, const char* text) {
  const size_t size = std::strlen(text);
  std::memcpy(at, text, size);
  return at + size;
}

}  // namespace

Result<Fd> open_listening_socket(const Address& address, bool probe_first) {
  Result<AddressList> found = resolve(address);
  if (!found.is_ok()) return found.status();
  // IPv4 first: a client that was told "localhost" tries both, one that was told 127.0.0.1 does
  // not.
  int code = EADDRNOTAVAIL;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* where = found.value().get(); where != nullptr; where = where->ai_next) {
      if (where->ai_family != family) continue;
      Fd fd;
      code = listen_on(*where, address, probe_first, fd);
      if (code == 0) return fd;
      // A port that is taken on one address of the host is taken, though another might have it.
      if (code != EADDRNOTAVAIL && code != EAFNOSUPPORT) return bind_error(address, code);
    }
  }
  return bind_error(address, code);
}

uint16_t bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  }
  return 0;
}

Peer peer_of(const sockaddr_storage& address) {
  Peer peer{};
  char host[INET6_ADDRSTRLEN] = "";
  uint16_t port = 0;
  bool has_brackets = false;
  in_addr ip4{};
  if (address.ss_family == AF_INET) {
    const auto& from = reinterpret_cast<const sockaddr_in&>(address);
    ip4 = from.sin_addr;
    port = ntohs(from.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& from = reinterpret_cast<const sockaddr_in6&>(address);
    port = ntohs(from.sin6_port);
    has_brackets = !IN6_IS_ADDR_V4MAPPED(&from.sin6_addr);
    if (has_brackets) {
      inet_ntop(AF_INET6, &from.sin6_addr, host, sizeof host);
      peer.is_local = IN6_IS_ADDR_LOOPBACK(&from.sin6_addr);
      peer.network = network_of(from.sin6_addr);
    } else {
      std::memcpy(&ip4, from.sin6_addr.s6_addr + 12, sizeof ip4);
    }
  } else {
    peer.name_size = static_cast<uint8_t>(put_text(peer.name, "unknown") - peer.name);
    return peer;
  }
  if (!has_brackets) {
    inet_ntop(AF_INET, &ip4, host, sizeof host);
    peer.is_local = (ntohl(ip4.s_addr) >> 24) == 127;
    peer.network = network_of(ip4);
  }
  char* at = peer.name;
  if (has_brackets) *at++ = '[';
  at = put_text(at, host);
  if (has_brackets) *at++ = ']';
  *at++ = ':';
  at = std::to_chars(at, peer.name + sizeof peer.name - 1, port).ptr;
  peer.name_size = static_cast<uint8_t>(at - peer.name);
  return peer;
}

bool is_own_address(int fd, const sockaddr_storage& peer) {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) != 0) return false;
  if (own.ss_family != peer.ss_family) return false;
  if (own.ss_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in&>(own).sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in&>(peer).sin_addr.s_addr;
  }
  return own.ss_family == AF_INET6 &&
         IN6_ARE_ADDR_EQUAL(&reinterpret_cast<const sockaddr_in6&>(own).sin6_addr,
                            &reinterpret_cast<const sockaddr_in6&>(peer).sin6_addr);
}

}  // namespace hrmr::net
