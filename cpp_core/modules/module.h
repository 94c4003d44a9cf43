// Module: one generation of one module: its routes, the image that holds its code, and the pins
// that keep it alive.
//
// Lifetime: made by a load, published in a RouteTable, retired when a newer generation or none
// takes its place; unloaded on the reload thread once every loop has let go of it. A Route lives as
// long as its Module.
//
// Pins are plain counters, one per loop, each touched by its own loop only: a request that leaves
// the loop (to a pool, or deferred) pins its module there and unpins it there when it is back.
// Inline requests need no pin, because the table changes only between them.
//
// A module that hands its state over comes to rest first: it is still published, but each loop
// holds its requests back, and none is inside it. Then it retires, or resumes:
//
//     serving --rest_on--> resting --retire_on--> retired
//        ^                    |
//        +-----resume_on------+
//
// Requests end first, timers after them. "Let go" is said once per armed count, by the last loop
// that has no pin left while the module rests or is retired. Then no timer begins any more, and
// when none runs the module has drained: nobody is inside it.
//
// Threads: pin, unpin, rest_on, resume_on, retire_on, pins_on, phase_on: on the loop named by the
// index. timer_begins, timer_ends, end_timers, running_timers: on the first loop. defer_begins,
// defer_ends: any. The rest: the reload thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "modules/image.h"
#include "modules/route.h"

namespace hrmr::modules {

class Module {
 public:
  enum class Phase : uint8_t { kServing, kResting, kRetired };

  Module(std::string name, uint64_t generation, unsigned loops);

  const std::string& name() const { return name_; }
  uint64_t generation() const { return generation_; }
  const std::string& version() const { return version_; }
  const std::vector<std::unique_ptr<Route>>& routes() const { return routes_; }
  const std::vector<std::unique_ptr<PeriodicTimer>>& timers() const { return timers_; }

  // How long a held request of this module waits before it is refused.
  uint64_t hold_timeout_ms() const { return hold_timeout_ms_; }

  void pin(unsigned loop) { ++slots_[loop].pins; }
  // True: this was the last pin on the last loop of a resting or retired module; tell
  // Control::let_go.
  bool unpin(unsigned loop) {
    Slot& slot = slots_[loop];
    return --slot.pins == 0 && slot.phase != Phase::kServing && last_loop_is_done();
  }
  // The loop sends no request into it any more. True as for unpin.
  bool rest_on(unsigned loop) { return leave_serving(loop, Phase::kResting); }
  // The loop sees a table without it from now on. True as for unpin.
  bool retire_on(unsigned loop) { return leave_serving(loop, Phase::kRetired); }
  // It serves on after all.
  void resume_on(unsigned loop) {
    slots_[loop].phase = Phase::kServing;
    if (loop == 0) have_timers_ended_ = false;
  }
  Phase phase_on(unsigned loop) const { return slots_[loop].phase; }
  uint32_t pins_on(unsigned loop) const { return slots_[loop].pins; }

  // A timer that runs on a pool. It is no pin: it goes on while requests do.
  void timer_begins() { ++running_timers_; }
  // True: it was the last one of a module that all loops have let go of; tell Control::drained.
  bool timer_ends() { return --running_timers_ == 0 && have_timers_ended_; }
  // All loops have let go of it, and none of its timers begins any more. True as for timer_ends.
  bool end_timers() {
    have_timers_ended_ = true;
    return running_timers_ == 0;
  }
  uint32_t running_timers() const { return running_timers_; }

  // Before a publication that lets it rest or retire: every loop is to count once. No loop counts
  // meanwhile.
  void arm(unsigned loops) { loops_holding_.store(loops, std::memory_order_relaxed); }

  // Replies that were deferred and are neither completed nor dropped. Only for reports: what keeps
  // the module alive is the pin.
  void defer_begins() { deferred_.fetch_add(1, std::memory_order_relaxed); }
  void defer_ends() { deferred_.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t deferred() const { return deferred_.load(std::memory_order_relaxed); }

 private:
  friend class ModuleRegistry;
  struct alignas(64) Slot {
    uint32_t pins = 0;
    Phase phase = Phase::kServing;
  };
  bool leave_serving(unsigned loop, Phase phase) {
    slots_[loop].phase = phase;
    return slots_[loop].pins == 0 && last_loop_is_done();
  }
  bool last_loop_is_done() { return loops_holding_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

  std::string name_;
  std::string version_;
  uint64_t generation_;
  std::vector<std::unique_ptr<Route>> routes_;
  std::vector<std::unique_ptr<PeriodicTimer>> timers_;
  std::unique_ptr<Image> image_;
  std::unique_ptr<Slot[]> slots_;
  std::atomic<unsigned> loops_holding_;
  std::atomic<uint32_t> deferred_{0};
  uint32_t running_timers_ = 0;
  bool have_timers_ended_ = false;
  uint64_t hold_timeout_ms_ = 0;
};

}  // namespace hrmr::modules
