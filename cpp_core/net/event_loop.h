// EventLoop: one epoll set, one thread, one mailbox, one timer wheel.
//
// Descriptors are registered once, edge-triggered, for reading and writing; there is no epoll_ctl
// on the request path. A Source that wants another turn without a new edge (it stopped at a bound)
// asks for it with schedule(). Objects that are done are handed to retire_later and freed at the
// end of the loop's turn, when no event of this turn can still name them.
//
// Threads: post and stop from any thread; everything else on the loop's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/status.h"
#include "net/timer_wheel.h"

namespace hrmr::net {

// Something with a descriptor.
class Source {
 public:
  // `events` are EPOLL* bits; 0 means: the turn that was asked for with schedule().
  virtual void on_event(uint32_t events) = 0;

 protected:
  ~Source() = default;

 private:
  friend class EventLoop;
  Source* next_scheduled_ = nullptr;
  bool is_scheduled_ = false;
};

// A letter to a loop: intrusive, so that posting allocates nothing. Its owner keeps it alive until
// on_delivery.
class Letter {
 public:
  virtual void
  on_delivery() = 0;  // on the loop's thread; the letter may be posted again from here, or deleted

 protected:
  ~Letter() = default;

 private:
  friend class EventLoop;
  Letter* next_ = nullptr;
};

// Freed at the end of the turn.
class Retired {
 public:
  virtual ~Retired() = default;

 private:
  friend class EventLoop;
  Retired* next_retired_ = nullptr;
};

class EventLoop {
 public:
  explicit EventLoop(unsigned index);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  Status open();  // epoll and eventfd; once, before run
  void run();     // until stop(); on the loop's thread
  void stop();    // any thread; run returns after the turn in which all letters posted before are
                  // delivered
  void post(Letter& letter);  // any thread; lock-free, in order per poster; wakes the loop only if
                              // it may be asleep

  Status add(int fd, Source& source,
             uint32_t events);  // EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET ...
  Status modify(int fd, Source& source, uint32_t events);
  void remove(int fd, Source& source);  // also takes it off the schedule
  void schedule(Source& source);        // on_event(0) in the next turn; once, however often asked
  void retire_later(Retired* object);

  TimerWheel& timers() { return timers_; }
  uint64_t now_ms() const { return now_ms_; }  // monotonic, of this turn
  unsigned index() const { return index_; }
  bool is_current_thread() const;

 private:
  unsigned index_;
  uint64_t now_ms_ = 0;
  TimerWheel timers_;
  // (the implementer completes this)
};

}  // namespace hrmr::net
