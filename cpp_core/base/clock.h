// Monotonic time in milliseconds and microseconds. Any thread.
#pragma once

#include <cstdint>
#include <ctime>

namespace hrmr {

inline uint64_t monotonic_us() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000u + static_cast<uint64_t>(now.tv_nsec) / 1000u;
}

inline uint64_t monotonic_ms() { return monotonic_us() / 1000u; }

}  // namespace hrmr
