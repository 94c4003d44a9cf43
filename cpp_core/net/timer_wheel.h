// TimerWheel: many coarse timers, armed and disarmed in constant time, without allocation. (The
// implementer completes it.)
//
// Resolution limits::kTimerTickMs-like (about 10 ms); a timer never fires early. Threads: the
// loop's own.
#pragma once

#include <cstdint>

namespace hrmr::net {

class Timer {  // intrusive; disarmed by its destructor
 public:
  virtual void on_timer() = 0;
  bool is_armed() const;

 protected:
  ~Timer();
};

class TimerWheel {
 public:
  void start(uint64_t now_ms);
  void arm(Timer& timer, uint64_t delay_ms);  // re-arms an armed one
  void disarm(Timer& timer);
  void advance(uint64_t now_ms);              // fires what is due
  int64_t ms_to_next(uint64_t now_ms) const;  // for epoll_wait; -1: none armed
};

}  // namespace hrmr::net
