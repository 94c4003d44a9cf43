#include "server/patience.h"

namespace hrmr::server {
namespace {

bool has_passed(uint64_t now_ms, uint64_t since_ms, uint64_t timeout_ms) {
  return timeout_ms != 0 && now_ms - since_ms >= timeout_ms;
}

uint64_t left_of(uint64_t now_ms, uint64_t since_ms, uint64_t timeout_ms) {
  const uint64_t passed_ms = now_ms - since_ms;
  return passed_ms < timeout_ms ? timeout_ms - passed_ms : 1;
}

// The lesser of two times, of which 0 is none.
uint64_t sooner(uint64_t left, uint64_t right) {
  if (left == 0 || right == 0) return std::max(left, right);
  return std::min(left, right);
}

}  // namespace

uint64_t Timeouts::shortest_ms() const {
  return sooner(sooner(idle_ms, head_ms), sooner(body_ms, write_ms));
}

void Patience::note_rest(uint64_t now_ms, size_t bytes, bool is_body) {
  rest_bytes_ = bytes;
  if (bytes == 0) {
    if (awaits_ != Awaits::kFirst) awaits_ = Awaits::kNothing;
    return;
  }
  // What follows a body of the same request is of it too: else a request of many small parts, each
  // of them in time, could be dripped for ever.
  const Awaits now_awaits = is_body || awaits_ == Awaits::kBody ? Awaits::kBody : Awaits::kHead;
  if (awaits_ == now_awaits) return;
  // The first request began with the connection.
  if (awaits_ != Awaits::kFirst || is_body) since_ms_ = now_ms;
  awaits_ = now_awaits;
}

void Patience::note_blocked(uint64_t now_ms, size_t queued_bytes) {
  is_blocked_ = true;
  blocked_ms_ = now_ms;
  blocked_bytes_ = queued_bytes;
}

bool Patience::is_late_with_body(uint64_t now_ms, const Timeouts& timeouts) const {
  if (timeouts.body_ms == 0) return false;
  if (has_passed(now_ms, active_ms_, timeouts.body_ms)) return true;
  if (timeouts.bytes_per_s_min == 0) return false;
  // The pause that is allowed is allowed once as a start, too: then the average has to be right.
  const uint64_t earned_ms = rest_bytes_ * 1000 / timeouts.bytes_per_s_min;
  return has_passed(now_ms, since_ms_, timeouts.body_ms + earned_ms);
}

// epoll tells of room only when a third of the kernel's buffer is free, which a slow but honest
// peer may take minutes for. So it is asked what the peer has taken.
bool Patience::is_late_with_taking(uint64_t now_ms, const Timeouts& timeouts, size_t queued_bytes) {
  if (!has_passed(now_ms, blocked_ms_, timeouts.write_ms)) return false;
  const size_t taken_bytes = blocked_bytes_ - std::min(queued_bytes, blocked_bytes_);
  const size_t due_bytes = timeouts.write_ms * timeouts.bytes_per_s_min / 1000;
  if (taken_bytes < std::max<size_t>(due_bytes, 1)) return true;
  note_blocked(now_ms, queued_bytes);
  return false;
}

Overdue Patience::overdue(uint64_t now_ms, const Timeouts& timeouts, bool is_away,
                          size_t queued_bytes) {
  if (is_blocked_) {
    return is_late_with_taking(now_ms, timeouts, queued_bytes) ? Overdue::kWrite
                                                               : Overdue::kNothing;
  }
  if (is_away) return Overdue::kNothing;
  switch (awaits_) {
    case Awaits::kFirst:
      if (has_passed(now_ms, since_ms_, timeouts.head_ms)) return Overdue::kIdle;
      break;
    case Awaits::kHead:
      if (has_passed(now_ms, since_ms_, timeouts.head_ms)) return Overdue::kHead;
      break;
    case Awaits::kBody:
      if (is_late_with_body(now_ms, timeouts)) return Overdue::kBody;
      break;
    case Awaits::kNothing:
      break;
  }
  return has_passed(now_ms, active_ms_, timeouts.idle_ms) ? Overdue::kIdle : Overdue::kNothing;
}

uint64_t Patience::next_look_ms(uint64_t now_ms, const Timeouts& timeouts, bool is_away) const {
  const uint64_t shortest_ms = timeouts.shortest_ms();
  const auto left = [now_ms](uint64_t since_ms, uint64_t timeout_ms) {
    return timeout_ms == 0 ? 0 : left_of(now_ms, since_ms, timeout_ms);
  };
  if (is_blocked_) return sooner(shortest_ms, left(blocked_ms_, timeouts.write_ms));
  if (is_away) return shortest_ms;
  uint64_t next_ms = sooner(shortest_ms, left(active_ms_, timeouts.idle_ms));
  if (awaits_ == Awaits::kFirst || awaits_ == Awaits::kHead) {
    next_ms = sooner(next_ms, left(since_ms_, timeouts.head_ms));
  }
  if (awaits_ == Awaits::kBody) {
    next_ms = sooner(next_ms, left(active_ms_, timeouts.body_ms));
    if (timeouts.body_ms != 0 && timeouts.bytes_per_s_min != 0) {
      const uint64_t earned_ms = rest_bytes_ * 1000 / timeouts.bytes_per_s_min;
      next_ms = sooner(next_ms, left(since_ms_, timeouts.body_ms + earned_ms));
    }
  }
  return next_ms;
}

}  // namespace hrmr::server
