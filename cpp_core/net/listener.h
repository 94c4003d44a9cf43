// Listener: one listening TCP or Unix socket on one loop; hands out accepted descriptors.
//
// It accepts limits::kAcceptsPerTurn at most in a turn and asks the loop for another turn when it
// stopped there.
//
// Survives descriptor exhaustion: it gives a reserve descriptor up to refuse the peer that waits
// first, then pauses for limits::kAcceptPauseMs; the others wait in the kernel's backlog. The log
// gets one warning when that begins, and one line when it is over and nobody waits any more.
//
// Lifetime: the loop outlives it. Threads: made on any thread before the loop runs; attach, close
// and destruction on the loop's own, or while it does not run.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/log.h"
#include "base/status.h"
#include "net/event_loop.h"
#include "net/socket.h"
#include "net/timer_wheel.h"

namespace hrmr::net {

class AcceptHandler {
 public:
  // Non-blocking, close-on-exec, TCP with TCP_NODELAY. May close the listener, not destroy it.
  virtual void on_accepted(Fd fd, const Peer& peer) = 0;

 protected:
  ~AcceptHandler() = default;
};

class Listener final : public Source, public Timer {
 public:
  Listener(EventLoop& loop, Log& log, AcceptHandler& handler);
  ~Listener();

  Status attach(Fd listening);
  void close();  // no matter whether it is attached

  void on_event(uint32_t events) override;
  void on_timer() override;

 private:
  void accept_some();
  bool accept_one();  // false: not now
  void pause(int code);
  void refuse_one();
  void open_reserve();

  EventLoop& loop_;
  Log& log_;
  AcceptHandler& handler_;
  Fd listening_;
  Fd reserve_;                 // given up to have one descriptor when there is none left
  bool is_exhausted_ = false;  // since the first pause, until nobody waits any more
};

}  // namespace hrmr::net
