// eventually(condition): waits until it holds; false when it does not within a generous time, so
// that a bug is a failure and not a hang. The bound is for slow machines under sanitizers; a
// passing test never waits for it.
#pragma once

#include <chrono>
#include <cstdint>
#include <thread>

#include "base/clock.h"

namespace hrmr::test {

inline constexpr uint64_t kPatienceMs = 20000;

class Deadline {
 public:
  bool has_passed() const { return monotonic_ms() > end_ms_; }
  uint64_t end_ms() const { return end_ms_; }

 private:
  uint64_t end_ms_ = monotonic_ms() + kPatienceMs;
};

template <class Condition>
bool eventually(Condition condition) {
  const Deadline deadline;
  for (int looks = 0; !condition(); ++looks) {
    if (deadline.has_passed()) return condition();
    if (looks < 1000) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  return true;
}

}  // namespace hrmr::test
