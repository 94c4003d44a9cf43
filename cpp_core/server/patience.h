// Patience: how long one connection waits for its peer, and for what. Knows the clock and counts
// bytes; no socket, no timer.
//
// A peer may be late in four ways:
// - idle: nothing is under way and nothing comes;
// - head: it has begun a request (or has connected) and does not come to the end of its first line
//   or header section in time, however busily it sends;
// - body: it pauses inside of a body, or sends the whole of it slower than bytes_per_s_min;
// - write: it does not take what is answered, or takes it slower than that.
//
// A connection notes what happens, which costs a few stores and arms no timer: it looks at
// overdue() only when a timer fires that was armed with next_look_ms(), and arms it again. As that
// is never more than the shortest of the timeouts, none is missed.
//
// Threads: its connection's loop.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/limits.h"

namespace hrmr::server {

// Milliseconds; 0: for ever.
struct Timeouts {
  uint64_t idle_ms = limits::kIdleTimeoutMs;
  uint64_t head_ms = limits::kHeadTimeoutMs;
  uint64_t body_ms = limits::kBodyTimeoutMs;
  uint64_t write_ms = limits::kWriteTimeoutMs;
  size_t bytes_per_s_min = limits::kBytesPerSecondMin;  // 0: any

  uint64_t shortest_ms() const;  // 0: there is none
};

enum class Overdue : uint8_t { kNothing, kIdle, kHead, kBody, kWrite };

class Patience {
 public:
  // The connection is accepted. Its first request is waited for as if it had begun.
  void begin(uint64_t now_ms) { active_ms_ = since_ms_ = now_ms; }
  // Bytes came or went, or something of the connection came back to it.
  void note_activity(uint64_t now_ms) { active_ms_ = now_ms; }
  // A request was taken off the input.
  void note_request() { awaits_ = Awaits::kNothing; }
  // There is no whole request in the input, which holds so many bytes. `is_body`: of one whose
  // length is known, see wire::Framer::is_in_body.
  void note_rest(uint64_t now_ms, size_t bytes, bool is_body);
  // The kernel takes no more; it holds `queued_bytes` that the peer has not taken.
  void note_blocked(uint64_t now_ms, size_t queued_bytes);
  void note_unblocked() { is_blocked_ = false; }
  bool is_blocked() const { return is_blocked_; }

  // What the peer is late with. `queued_bytes`: as above, now; looked at while is_blocked().
  // `is_away`: it is we who are busy, and it is waiting for us.
  Overdue overdue(uint64_t now_ms, const Timeouts& timeouts, bool is_away, size_t queued_bytes);
  // When to ask again, in milliseconds; 0: never.
  uint64_t next_look_ms(uint64_t now_ms, const Timeouts& timeouts, bool is_away) const;

 private:
  // kFirst: as kHead, of a peer that has sent nothing yet.
  enum class Awaits : uint8_t { kFirst, kNothing, kHead, kBody };

  bool is_late_with_body(uint64_t now_ms, const Timeouts& timeouts) const;
  bool is_late_with_taking(uint64_t now_ms, const Timeouts& timeouts, size_t queued_bytes);

  Awaits awaits_ = Awaits::kFirst;
  bool is_blocked_ = false;
  uint64_t active_ms_ = 0;    // when the last bytes came or went
  uint64_t since_ms_ = 0;     // when what is awaited began
  size_t rest_bytes_ = 0;     // of the request that has begun
  uint64_t blocked_ms_ = 0;   // since when the kernel takes no more
  size_t blocked_bytes_ = 0;  // what it held then
};

}  // namespace hrmr::server
