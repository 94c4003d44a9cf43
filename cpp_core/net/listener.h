// Listener: one listening TCP socket on one loop; hands out accepted descriptors. Survives
// descriptor exhaustion: it gives a reserve descriptor up to refuse the waiting peer, then pauses
// for limits::kAcceptPauseMs. Threads: open on any thread before the loop runs; attach, close on
// the loop's own.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/log.h"
#include "base/status.h"
#include "net/event_loop.h"
#include "net/timer_wheel.h"

namespace hrmr::net {

struct Peer {
  char name[64];  // "127.0.0.1:40312" or "[::1]:40312"
  uint8_t name_size;
  bool is_loopback;  // 127.0.0.0/8, ::1, ::ffff:127.0.0.0/104
};

struct Address {
  std::string host;         // IPv4, IPv6 or a name that resolves
  uint16_t port = 0;        // 0: any free one
  bool share_port = false;  // SO_REUSEPORT, for several loops
};

// A bound, listening, non-blocking socket. The error says what to do: "port 8080 on 127.0.0.1 is
// already in use: choose another with --port, or 0 for any free one". With share_port, a port that
// a process other than ours holds is an error too (probed without SO_REUSEPORT first).
Result<Fd> open_listening_socket(const Address& address, bool probe_first);
uint16_t bound_port(int fd);

class AcceptHandler {
 public:
  virtual void on_accepted(Fd fd,
                           const Peer& peer) = 0;  // non-blocking, close-on-exec, TCP_NODELAY set

 protected:
  ~AcceptHandler() = default;
};

class Listener final : public Source, public Timer {
 public:
  Listener(EventLoop& loop, Log& log, AcceptHandler& handler);
  Status attach(Fd listening);
  void close();
  void on_event(uint32_t events) override;
  void on_timer() override;
  // (the implementer completes this)
};

}  // namespace hrmr::net
