// HeldStreams: the streams of one loop whose next request waits until its module is reloaded
// (policy `hold`), in the order in which they came, with the time at which each has waited long
// enough.
//
// Lifetime: a stream leaves before it goes (leave). Threads: its loop's.
#pragma once

#include <cstdint>

#include "net/event_loop.h"
#include "net/timer_wheel.h"
#include "server/stream.h"

namespace hrmr::server {

class HeldStreams final : public net::Timer {
 public:
  explicit HeldStreams(net::EventLoop& loop) : loop_(loop) {}

  // The stream has nothing else under way. Its owner's on_hold_over follows, once, unless it
  // leaves.
  void enter(Stream& stream, uint64_t timeout_ms);
  void leave(Stream& stream);
  // The hold of all of them is over: the table is another.
  void release_all();

  void on_timer() override;

 private:
  void arm();
  void end_hold(Stream& stream, bool has_waited_in_vain);

  net::EventLoop& loop_;
  Stream* first_ = nullptr;
  Stream* last_ = nullptr;
};

}  // namespace hrmr::server
