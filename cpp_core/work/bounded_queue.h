// BoundedQueue: a lock-free multi-producer multi-consumer ring of a fixed number of slots. Full is
// an answer (try_push is false), never a wait; so is empty.
//
// The design is Dmitry Vyukov's: each slot carries a sequence number that says whose turn it is.
// Let `ticket` count pushes from 0; ticket t uses slot t mod slots.
//
//     sequence == t          the slot is free for push number t
//     sequence == t + 1      it holds the value of push t, for pop number t
//     sequence == t + slots  pop t has emptied it: free for push t + slots
//
// A producer takes a ticket by moving tail_ on, but only after it has seen that its slot is free;
// hence a failed push leaves no trace. Consumers do the same with head_.
//
// Order: pushes of one producer are popped in their order. Pushes of several producers are popped
// in the order of their tickets.
//
// A producer that is preempted between its ticket and its value holds up the pops behind it:
// try_pop is then false although later values are in place. Who sleeps on "false" must therefore be
// woken after each push, not after the first one only (see gate.h).
//
// Values are small and trivially copyable, pointers in practice; nothing is owned by the ring.
//
// Threads: construction and destruction by one, everything else by any.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "base/check.h"

namespace hrmr::work {

// What two cores must not write to at the same time. Fixed and not
// std::hardware_destructive_interference_size, which may differ between two compilers' flags.
inline constexpr size_t kCacheLineBytes = 64;

template <class T>
class BoundedQueue {
  static_assert(std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T>,
                "a value that is refused or left behind must not need a destructor");

 public:
  explicit BoundedQueue(size_t slots)  // a power of two, 2 at least
      : mask_(slots - 1), slots_(new Slot[slots]) {
    // With one slot "holds push t" and "free for push t + 1" would be the same number.
    HRMR_CHECK(slots >= 2 && (slots & mask_) == 0);
    check_layout();
    for (size_t i = 0; i < slots; ++i) slots_[i].sequence.store(i, std::memory_order_relaxed);
  }
  BoundedQueue(const BoundedQueue&) = delete;
  BoundedQueue& operator=(const BoundedQueue&) = delete;

  // False: all slots are taken.
  bool try_push(T value) {
    uint64_t ticket = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Slot& slot = slots_[ticket & mask_];
      // Acquire: pairs with the release of the pop that emptied the slot, so that its read of the
      // old value comes before our write of the new one.
      const uint64_t sequence = slot.sequence.load(std::memory_order_acquire);
      const int64_t ahead = static_cast<int64_t>(sequence - ticket);
      if (ahead == 0) {
        // Relaxed: the ticket orders nothing, it only must be ours alone. A failure reloads it.
        if (tail_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_relaxed)) {
          slot.value = value;
          slot.sequence.store(ticket + 1, std::memory_order_release);  // to the pop
          return true;
        }
      } else if (ahead < 0) {
        return false;  // still the value of one round ago; a stale ticket would be behind instead
      } else {
        ticket = tail_.load(std::memory_order_relaxed);
      }
    }
  }

  // False: empty, or the oldest push is not finished.
  bool try_pop(T& value) {
    uint64_t ticket = head_.load(std::memory_order_relaxed);
    for (;;) {
      Slot& slot = slots_[ticket & mask_];
      // Acquire: pairs with the release of the push, so that we see its value.
      const uint64_t sequence = slot.sequence.load(std::memory_order_acquire);
      const int64_t ahead = static_cast<int64_t>(sequence - (ticket + 1));
      if (ahead == 0) {
        if (head_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_relaxed)) {
          value = slot.value;
          slot.sequence.store(ticket + mask_ + 1, std::memory_order_release);  // to the next push
          return true;
        }
      } else if (ahead < 0) {
        return false;
      } else {
        ticket = head_.load(std::memory_order_relaxed);
      }
    }
  }

  // Exact while nobody pushes or pops.
  size_t approximate_size() const {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    const int64_t size = static_cast<int64_t>(tail - head);  // of two moments: may be anything
    if (size <= 0) return 0;
    return static_cast<size_t>(size) > slots() ? slots() : static_cast<size_t>(size);
  }

  size_t slots() const { return mask_ + 1; }

 private:
  // Slots share cache lines but never straddle two. A line for each was ruled out by measurement
  // (2 cores, interleaved runs): the same throughput, a third more time to hand 32 values over,
  // four times the memory.
  struct alignas(2 * sizeof(uint64_t)) Slot {
    std::atomic<uint64_t> sequence;
    T value;
  };
  static_assert(sizeof(Slot) == 2 * sizeof(uint64_t), "a value is a pointer or a word");
  static_assert(std::atomic<uint64_t>::is_always_lock_free);

  // Read by all, written by none: not on the lines of head_ and tail_.
  const size_t mask_;
  const std::unique_ptr<Slot[]> slots_;
  alignas(kCacheLineBytes) std::atomic<uint64_t> head_{0};  // the next pop's ticket
  alignas(kCacheLineBytes) std::atomic<uint64_t> tail_{0};  // the next push's ticket

  static constexpr void check_layout() {
    static_assert(offsetof(BoundedQueue, tail_) - offsetof(BoundedQueue, head_) == kCacheLineBytes);
    static_assert(offsetof(BoundedQueue, head_) >= kCacheLineBytes);
    static_assert(sizeof(BoundedQueue) == 3 * kCacheLineBytes);
  }
};

}  // namespace hrmr::work
