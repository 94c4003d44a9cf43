// EventLoop: one epoll set, one thread, one mailbox, one timer wheel.
//
// Descriptors are registered once, edge-triggered, for reading and writing; there is no epoll_ctl
// on the request path. A Source that wants another turn without a new edge (it stopped at a bound)
// asks for it with schedule(). Objects that are done are handed to retire_later and freed at the
// end of the loop's turn, when no event of this turn can still name them.
//
// One turn: wait; the sources scheduled in the turn before; events; letters; timers; free what has
// retired. Letters that are posted meanwhile are for the next turn, which then does not wait.
//
// The mailbox is one word: a stack of letters, or null, or the address of `asleep_`, which the loop
// puts there before it waits, and only in place of null. Whoever posts onto `asleep_` takes it away
// with the same compare-and-swap and makes the one write to the eventfd; all others make none. As
// there is only this word, a letter cannot slip in between "is it empty?" and "I sleep": the loop's
// own swap would fail. The eventfd is registered edge-triggered and never read: each write is an
// edge, and 2^64 of them do not happen.
//
// Lifetime: letters that are in the mailbox when the loop is destroyed remain their owners', unless
// discard_letters has told them so. Every post and stop must have returned before the loop is
// destroyed (its last act may be the write).
//
// Threads: post and stop from any thread; everything else on the loop's own, or before run.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/fd.h"
#include "base/limits.h"
#include "base/status.h"
#include "net/timer_wheel.h"

namespace hrmr::net {

// A place in a ring; alone it is a ring of one.
struct RingNode {
  RingNode() : before(this), after(this) {}
  RingNode(const RingNode&) = delete;
  RingNode& operator=(const RingNode&) = delete;
  ~RingNode() { leave(); }

  bool is_alone() const { return after == this; }
  void leave() {
    before->after = after;
    after->before = before;
    before = after = this;
  }
  void join_before(RingNode& other) {
    before = other.before;
    after = &other;
    before->after = this;
    other.before = this;
  }

  RingNode* before;
  RingNode* after;
};

// Something with a descriptor; one. Leaves the schedule when it is destroyed.
class Source : private RingNode {
 public:
  // `events` are EPOLL* bits; 0 means: the turn that was asked for with schedule().
  virtual void on_event(uint32_t events) = 0;

 protected:
  ~Source() = default;

 private:
  friend class EventLoop;
};

// A letter to a loop: intrusive, so that posting allocates nothing. Its owner keeps it alive until
// on_delivery.
class Letter {
 public:
  // On the loop's thread; the letter may be posted again from here, or deleted.
  virtual void on_delivery() = 0;
  // Instead of that, when the loop had stopped; see discard_letters.
  virtual void on_undelivered() {}

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
  void run();     // until stop(); on the loop's thread; once
  void stop();    // any thread; run returns after the turn in which all letters posted before are
                  // delivered
  void post(Letter& letter);  // any thread; lock-free, in order per poster; wakes the loop only if
                              // it may be asleep

  // EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET ...
  Status add(int fd, Source& source, uint32_t events);
  Status modify(int fd, Source& source, uint32_t events);
  // Before the descriptor is closed. No event of this turn reaches the source any more, though the
  // kernel has reported it already; and it is taken off the schedule.
  void remove(int fd, Source& source);
  void schedule(Source& source);  // on_event(0) in the next turn; once, however often asked
  void retire_later(Retired* object);

  // After run has returned and the last post too: tells the letters that came too late for run.
  void discard_letters();

  TimerWheel& timers() { return timers_; }
  uint64_t now_ms() const { return now_ms_; }  // monotonic, of this turn
  unsigned index() const { return index_; }
  bool is_current_thread() const;

 private:
  struct AsleepMark final : Letter {
    void on_delivery() override {}
  };
  struct StopLetter final : Letter {
    void on_delivery() override { is_delivered = true; }
    bool is_delivered = false;
  };

  Status control(int operation, int fd, Source& source, uint32_t events);
  int wait_limit_ms();
  void wait(int limit_ms);
  void run_scheduled();
  void deliver_events();
  void deliver_letters();
  Letter* take_letters();
  void free_retired();

  const unsigned index_;
  uint64_t now_ms_ = 0;
  Fd epoll_;
  Fd wake_;
  TimerWheel timers_;
  RingNode scheduled_;
  Retired* retired_ = nullptr;
  StopLetter stop_letter_;
  AsleepMark asleep_;
  // This turn's events and how far we are. A null pointer is the eventfd's, or of a removed source.
  size_t ready_next_ = 0;
  size_t ready_count_ = 0;
  std::array<epoll_event, limits::kEventsPerTurn> ready_;

  // The words that other threads write, away from the rest.
  alignas(64) std::atomic<Letter*> mailbox_{nullptr};
  std::atomic<bool> is_stop_posted_{false};
};

}  // namespace hrmr::net
