// TimerWheel: many coarse timers, armed and disarmed in constant time, without allocation.
//
// Time is counted in ticks of limits::kTimerTickMs. There are kLevels wheels of 64 slots; a slot of
// level n spans 64^n ticks. A timer lies on the level of the highest 6-bit digit in which its due
// tick differs from the present one, in the slot of that digit; so all timers of a level come
// before those of the next, no slot ever wraps, and the earliest is found from one bit mask per
// level. When the present reaches a slot of a higher level, its timers move down.
//
// A timer never fires early: the delay counts from the `now_ms` that the wheel was told last, which
// is the beginning of the loop's turn, and is rounded up to whole ticks. It fires up to one tick
// late, plus what the turn takes.
//
// on_timer may arm, disarm and destroy any timer, itself included. A timer that is armed there
// fires in a later advance, whatever its delay.
//
// Lifetime: either may die first; timers that are armed when the wheel goes are disarmed.
// Threads: the loop's own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace hrmr::net {

class TimerWheel;

class Timer {  // intrusive; disarmed by its destructor
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  virtual void on_timer() = 0;
  bool is_armed() const { return wheel_ != nullptr; }

 protected:
  ~Timer();

 private:
  friend class TimerWheel;
  TimerWheel* wheel_ = nullptr;  // null: not armed
  uint64_t due_tick_ = 0;
  Timer* next_ = nullptr;
  Timer** link_ = nullptr;  // what points to this one: a slot, or the next_ of the one before
  size_t slot_ = 0;
};

class TimerWheel {
 public:
  TimerWheel() = default;
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  void start(uint64_t now_ms);  // once, before the first arm
  // From when the delays of the following arms count. Fires nothing.
  void set_now(uint64_t now_ms);
  void arm(Timer& timer, uint64_t delay_ms);  // re-arms an armed one
  void disarm(Timer& timer);                  // no matter whether it is armed
  void advance(uint64_t now_ms);              // fires what is due
  int64_t ms_to_next(uint64_t now_ms) const;  // for epoll_wait; -1: none armed

 private:
  static constexpr unsigned kDigitBits = 6;
  static constexpr size_t kSlotsPerLevel = size_t{1} << kDigitBits;
  // 64^6 ticks are 21 years; longer delays are cut to half of that.
  static constexpr size_t kLevels = 6;
  static constexpr uint64_t kDelayTicksMax = uint64_t{1} << (kDigitBits * kLevels - 1);
  static constexpr size_t kSlots = kLevels * kSlotsPerLevel;
  static constexpr size_t kFiring = kSlots;  // the list of those that are firing right now

  struct Step {
    size_t slot;
    uint64_t tick;  // at which the slot is to be fired or moved down
  };
  bool find_next(Step& step) const;
  void place(Timer& timer);
  void link(Timer& timer, size_t slot);
  void unlink(Timer& timer);
  void empty_slot(size_t slot);
  uint64_t tick_of(uint64_t now_ms) const;

  uint64_t start_ms_ = 0;
  uint64_t now_ms_ = 0;
  uint64_t tick_ = 0;                         // up to here all has fired
  std::array<uint64_t, kLevels> occupied_{};  // bit n: slot n of the level has timers
  std::array<Timer*, kSlots + 1> slots_{};
};

}  // namespace hrmr::net
