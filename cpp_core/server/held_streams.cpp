#include "server/held_streams.h"

#include <algorithm>

namespace hrmr::server {

void HeldStreams::enter(Stream& stream, uint64_t timeout_ms) {
  stream.is_held = true;
  stream.hold_until_ms = loop_.now_ms() + timeout_ms;
  stream.held_before = last_;
  stream.held_after = nullptr;
  (last_ == nullptr ? first_ : last_->held_after) = &stream;
  last_ = &stream;
  arm();
}

void HeldStreams::leave(Stream& stream) {
  if (!stream.is_held) return;
  stream.is_held = false;
  (stream.held_before == nullptr ? first_ : stream.held_before->held_after) = stream.held_after;
  (stream.held_after == nullptr ? last_ : stream.held_after->held_before) = stream.held_before;
}

// A stream that goes on may be held again, behind all others; it is not this release's any more.
void HeldStreams::release_all() {
  Stream* const last = last_;
  bool is_last = first_ == nullptr;
  while (!is_last) {
    Stream& stream = *first_;
    is_last = &stream == last;
    end_hold(stream, false);
  }
  arm();
}

// Modules differ in how long their requests may wait, so the earliest need not be the first.
void HeldStreams::on_timer() {
  Stream* stream = first_;
  while (stream != nullptr) {
    Stream* const after = stream->held_after;
    if (stream->hold_until_ms <= loop_.now_ms()) end_hold(*stream, true);
    stream = after;
  }
  arm();
}

void HeldStreams::end_hold(Stream& stream, bool has_waited_in_vain) {
  leave(stream);
  stream.owner->on_hold_over(has_waited_in_vain);
}

void HeldStreams::arm() {
  if (first_ == nullptr) {
    loop_.timers().disarm(*this);
    return;
  }
  uint64_t earliest_ms = first_->hold_until_ms;
  for (const Stream* each = first_; each != nullptr; each = each->held_after) {
    earliest_ms = std::min(earliest_ms, each->hold_until_ms);
  }
  const uint64_t now_ms = loop_.now_ms();
  loop_.timers().arm(*this, earliest_ms > now_ms ? earliest_ms - now_ms : 0);
}

}  // namespace hrmr::server
