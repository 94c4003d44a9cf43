// Listening TCP sockets, and the names of who connects to them.
//
// Threads: any.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace hrmr::net {

struct Peer {
  char name[64];  // "127.0.0.1:40312" or "[::1]:40312", zero-terminated. An IPv4 peer of an IPv6
                  // socket is named as the IPv4 address it is
  uint8_t name_size;
  // Who is behind it, for AddressTable: an IPv4 address, or the /64 of an IPv6 address, of which a
  // host may have all. 0: no address.
  uint64_t network;
  bool is_unix;   // it came over a Unix socket: is_local, and the socket's mode has let it in
  bool is_local;  // on this machine, as far as the address tells: 127.0.0.0/8, ::1,
                  // ::ffff:127.0.0.0/104, or (see is_own_address) the address it connected to
  bool is_own;    // the program that the server is in (server::Server::adopt)
};

struct Address {
  std::string host;         // IPv4, IPv6 or a name that resolves; empty: all of IPv4
  uint16_t port = 0;        // 0: any free one
  bool share_port = false;  // SO_REUSEPORT, for several loops
};

// A bound, listening, non-blocking socket; what it accepts has TCP_NODELAY. "::" takes IPv4 too.
// The error says what to do: "port 8080 on 127.0.0.1 is already in use: choose another with --port,
// or 0 for any free one". With share_port, a port that a process other than ours holds is an error
// too if `probe_first` (probed without SO_REUSEPORT, so for the first of our sockets only).
Result<Fd> open_listening_socket(const Address& address, bool probe_first);

// 0 when `fd` is not a bound IP socket.
uint16_t bound_port(int fd);

// No allocation, no system call. An address that is neither IPv4 nor IPv6 is named "unknown".
Peer peer_of(const sockaddr_storage& address);

// Whether the peer of the accepted socket `fd` comes from the very address that it connects to: it
// is on this machine then, whatever that address is.
bool is_own_address(int fd, const sockaddr_storage& peer);

}  // namespace hrmr::net
