// Gate: where workers sleep and submitters wake them, with a system call only when somebody sleeps.
//
// One word counts the announced sleepers and the submitters inside, and says whether the gate is
// closed. Every step is a read-modify-write of that word, so the steps have one total order, and
// each sees the memory of all before it. That is the whole proof that no wake-up is lost:
//
//     worker:     announce; look at the queue once more; sleep
//     submitter:  enter; push; leave
//
// Either leave comes after announce: then it sees the sleeper and wakes one. Or it comes before:
// then the worker's second look sees the push. (The usual alternative, a store, a full fence and a
// load on both sides, costs the same on x86, and the thread sanitizer does not understand it.)
//
// Who wakes a sleeper takes it off the count first and then leaves a token; each announced worker
// takes one off the count again (withdraw) or takes a token. So a burst of submits to a worker that
// has not got the processor yet makes one system call, not one for each.
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstdint>

namespace hrmr::work {

class Gate {
 public:
  // --- submitters ---
  // False: closed. Otherwise leave() must follow.
  bool enter();
  // After the push. Wakes one sleeper if there is one.
  void leave();
  // The same without the wake-up (unless the gate was closed meanwhile): wake_up_to must follow.
  void leave_quietly();
  // Wakes as many sleepers as there are, at most `sleepers_max`.
  void wake_up_to(uint64_t sleepers_max);

  // --- workers ---
  // This thread may be about to sleep. True: closed and no submitter is inside, so what the queue
  // does not hold now it never will. Either sleep() or withdraw() must follow.
  bool announce();
  void withdraw();
  void sleep();  // until woken

  // --- both ---
  void wake_one();  // if one sleeps
  void close();     // wakes all; from now on enter() is false

 private:
  void wake(uint64_t sleepers_max);
  bool take_count();  // this announced worker's, or another's, which is the same
  bool try_take_token();

  // Bits 0-15: announced sleepers. Bits 16-47: submitters inside. Bit 63: closed.
  alignas(64) std::atomic<uint64_t> state_{0};
  // The futex: wake-ups given and not yet taken. A line of its own: submitters write state_ all the
  // time.
  alignas(64) std::atomic<uint32_t> tokens_{0};
};

}  // namespace hrmr::work
