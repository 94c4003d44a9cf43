#include "work/gate.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

namespace hrmr::work {
namespace {

constexpr uint64_t kSleeper = 1;
constexpr uint64_t kSleepersMask = 0xffff;
constexpr uint64_t kSubmitter = uint64_t{1} << 16;
constexpr uint64_t kSubmittersMask = uint64_t{0xffffffff} << 16;
constexpr uint64_t kClosed = uint64_t{1} << 63;

// The kernel compares and sleeps in one step: a token left in between makes it return at once.
void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word, int threads) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, threads, nullptr, nullptr, 0);
}

static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t), "the futex is the bare word");

}  // namespace

bool Gate::enter() {
  // A closed gate stays closed: no need to disturb the word.
  if ((state_.load(std::memory_order_relaxed) & kClosed) != 0) return false;
  if ((state_.fetch_add(kSubmitter, std::memory_order_acq_rel) & kClosed) == 0) return true;
  leave();
  return false;
}

void Gate::leave() {
  const uint64_t before = state_.fetch_sub(kSubmitter, std::memory_order_acq_rel);
  if ((before & kSleepersMask) == 0) return;
  // A worker that found the gate closed but us inside went to sleep: the last one out wakes them.
  const bool is_last = (before & kSubmittersMask) == kSubmitter;
  wake((before & kClosed) != 0 && is_last ? kSleepersMask : 1);
}

void Gate::leave_quietly() {
  const uint64_t before = state_.fetch_sub(kSubmitter, std::memory_order_acq_rel);
  const bool is_last = (before & kSubmittersMask) == kSubmitter;
  if ((before & kClosed) != 0) wake(is_last ? kSleepersMask : 1);
}

// A read-modify-write, as every step is: it comes after the push, so a worker that announces itself
// after it sees the push.
void Gate::wake_up_to(uint64_t sleepers_max) {
  if ((state_.fetch_add(0, std::memory_order_acq_rel) & kSleepersMask) != 0) wake(sleepers_max);
}

bool Gate::announce() {
  const uint64_t before = state_.fetch_add(kSleeper, std::memory_order_acq_rel);
  return (before & kClosed) != 0 && (before & kSubmittersMask) == 0;
}

// Where the count is 0, somebody has taken us off it and leaves a token; but another worker, that
// has announced itself meanwhile, may take it for its own and leave its count to us. So both are
// looked at until one is there: who has a job must not wait for a wake-up.
void Gate::withdraw() {
  while (!take_count() && !try_take_token()) std::this_thread::yield();
}

bool Gate::take_count() {
  uint64_t seen = state_.load(std::memory_order_relaxed);
  while ((seen & kSleepersMask) != 0) {
    if (state_.compare_exchange_weak(seen, seen - kSleeper, std::memory_order_acq_rel)) return true;
  }
  return false;
}

bool Gate::try_take_token() {
  uint32_t tokens = tokens_.load(std::memory_order_relaxed);
  while (tokens != 0) {
    if (tokens_.compare_exchange_weak(tokens, tokens - 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void Gate::sleep() {
  while (!try_take_token()) futex_wait(tokens_, 0);
}

void Gate::wake_one() { wake(1); }

void Gate::close() {
  state_.fetch_or(kClosed, std::memory_order_acq_rel);
  wake(kSleepersMask);
}

void Gate::wake(uint64_t sleepers_max) {
  uint64_t seen = state_.load(std::memory_order_relaxed);
  uint64_t taken = 0;
  do {
    taken = std::min(seen & kSleepersMask, sleepers_max);
    if (taken == 0) return;
  } while (!state_.compare_exchange_weak(seen, seen - taken, std::memory_order_acq_rel));
  tokens_.fetch_add(static_cast<uint32_t>(taken), std::memory_order_release);
  futex_wake(tokens_, static_cast<int>(taken));
}

}  // namespace hrmr::work
