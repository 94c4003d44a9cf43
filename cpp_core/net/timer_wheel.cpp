#include "net/timer_wheel.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/limits.h"

namespace hrmr::net {

Timer::~Timer() {
  if (wheel_ != nullptr) wheel_->disarm(*this);
}

TimerWheel::~TimerWheel() {
  for (Timer*& first : slots_) {
    while (first != nullptr) unlink(*first);
  }
}

void TimerWheel::start(uint64_t now_ms) {
  start_ms_ = now_ms;
  now_ms_ = now_ms;
}

uint64_t TimerWheel::tick_of(uint64_t now_ms) const {
  return (now_ms - start_ms_) / limits::kTimerTickMs;
}

void TimerWheel::set_now(uint64_t now_ms) { now_ms_ = std::max(now_ms, now_ms_); }

void TimerWheel::arm(Timer& timer, uint64_t delay_ms) {
  disarm(timer);
  constexpr uint64_t kDelayMsMax = kDelayTicksMax * limits::kTimerTickMs;
  const uint64_t due_ms = now_ms_ - start_ms_ + std::min(delay_ms, kDelayMsMax);
  const uint64_t rounded_up = (due_ms + limits::kTimerTickMs - 1) / limits::kTimerTickMs;
  // Not the tick that may be firing now, or a delay of 0 armed by its own on_timer would never end.
  timer.due_tick_ = std::max(rounded_up, tick_of(now_ms_) + 1);
  timer.wheel_ = this;
  place(timer);
}

void TimerWheel::disarm(Timer& timer) {
  if (timer.wheel_ == nullptr) return;
  HRMR_CHECK(timer.wheel_ == this);
  unlink(timer);
}

void TimerWheel::advance(uint64_t now_ms) {
  set_now(now_ms);
  const uint64_t now_tick = tick_of(now_ms_);
  Step step{};
  while (find_next(step) && step.tick <= now_tick) {
    tick_ = step.tick;
    empty_slot(step.slot);
  }
  tick_ = now_tick;
}

int64_t TimerWheel::ms_to_next(uint64_t now_ms) const {
  Step step{};
  if (!find_next(step)) return -1;
  // For a higher level this is when it must move down: at most one wake-up per level and timer.
  const uint64_t due_ms = start_ms_ + step.tick * limits::kTimerTickMs;
  return due_ms <= now_ms ? 0 : static_cast<int64_t>(due_ms - now_ms);
}

bool TimerWheel::find_next(Step& step) const {
  for (size_t level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    const auto digit = static_cast<uint64_t>(std::countr_zero(occupied_[level]));
    const unsigned shift = kDigitBits * static_cast<unsigned>(level);
    const uint64_t level_begin = tick_ >> (shift + kDigitBits) << (shift + kDigitBits);
    step.slot = level * kSlotsPerLevel + digit;
    step.tick = level_begin + (digit << shift);
    return true;
  }
  return false;
}

void TimerWheel::place(Timer& timer) {
  // With the lowest digit's bits set, ticks that differ there only, or not at all, give level 0.
  const uint64_t differing = (timer.due_tick_ ^ tick_) | (kSlotsPerLevel - 1);
  const auto level = (static_cast<unsigned>(std::bit_width(differing)) - 1) / kDigitBits;
  HRMR_CHECK(level < kLevels);
  const uint64_t digit = (timer.due_tick_ >> (level * kDigitBits)) & (kSlotsPerLevel - 1);
  link(timer, level * kSlotsPerLevel + digit);
}

void TimerWheel::link(Timer& timer, size_t slot) {
  Timer*& first = slots_[slot];
  timer.slot_ = slot;
  timer.next_ = first;
  timer.link_ = &first;
  if (first != nullptr) first->link_ = &timer.next_;
  first = &timer;
  if (slot != kFiring) {
    occupied_[slot / kSlotsPerLevel] |= uint64_t{1} << (slot % kSlotsPerLevel);
  }
}

void TimerWheel::unlink(Timer& timer) {
  *timer.link_ = timer.next_;
  if (timer.next_ != nullptr) timer.next_->link_ = timer.link_;
  timer.wheel_ = nullptr;
  const size_t slot = timer.slot_;
  if (slot != kFiring && slots_[slot] == nullptr) {
    occupied_[slot / kSlotsPerLevel] &= ~(uint64_t{1} << (slot % kSlotsPerLevel));
  }
}

void TimerWheel::empty_slot(size_t slot) {
  // Through a list of its own that on_timer can take others from, and never the slot itself, which
  // on_timer might fill again. Each is unlinked before its call, so it may destroy itself.
  HRMR_CHECK(slots_[kFiring] == nullptr);
  while (Timer* timer = slots_[slot]) {
    unlink(*timer);
    timer->wheel_ = this;
    link(*timer, kFiring);
  }
  const bool is_due = slot < kSlotsPerLevel;
  while (Timer* timer = slots_[kFiring]) {
    unlink(*timer);
    if (is_due) {
      timer->on_timer();
    } else {
      timer->wheel_ = this;
      place(*timer);
    }
  }
}

}  // namespace hrmr::net
