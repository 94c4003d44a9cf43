#include "server/long_call.h"

#include "base/clock.h"

namespace hrmr::server {

LongCall::LongCall(Log& log, uint64_t long_ms, uint64_t again_ms)
    : log_(log), long_ms_(long_ms), again_ms_(again_ms) {}

void LongCall::start(net::EventLoop& loop) {
  const std::lock_guard lock(mutex_);
  loop_ = &loop;
}

void LongCall::close() {
  const std::lock_guard lock(mutex_);
  loop_ = nullptr;
}

void LongCall::begin_call(const modules::ModuleCall& call) {
  const std::lock_guard lock(mutex_);
  module_ = call.module;
  generation_ = call.generation;
  function_ = call.function;
  began_ms_ = monotonic_ms();
  told_ms_ = 0;
  is_running_ = true;
  if (loop_ != nullptr && !is_watched_.exchange(true)) loop_->post(*this);
}

void LongCall::end_call() {
  const std::lock_guard lock(mutex_);
  is_running_ = false;
  if (told_ms_ == 0) return;
  log_.info("reload", shown() + " has ended after " +
                          std::to_string((monotonic_ms() - began_ms_) / 1000) + " s");
}

void LongCall::on_delivery() { on_timer(); }

// Mostly there is nothing to look at any more, which is found out without the lock. Either this
// sees the call that begins meanwhile, or that one sees that it is not watched.
void LongCall::on_timer() {
  is_watched_ = false;
  if (!is_running_ || is_watched_.exchange(true)) return;
  const std::lock_guard lock(mutex_);
  if (loop_ == nullptr || !is_running_) {
    is_watched_ = false;
    return;
  }
  const uint64_t now_ms = monotonic_ms();
  const uint64_t due_ms = told_ms_ == 0 ? began_ms_ + long_ms_ : told_ms_ + again_ms_;
  if (now_ms < due_ms) return loop_->timers().arm(*this, due_ms - now_ms);
  log_.warn("reload", shown() + " has not ended for " +
                          std::to_string((now_ms - began_ms_) / 1000) +
                          " s; until it does no module is reloaded, and RELOAD waits");
  told_ms_ = now_ms;
  loop_->timers().arm(*this, again_ms_);
}

// "load of users generation 3".
std::string LongCall::shown() const {
  return std::string(function_) + " of " + module_ + " generation " + std::to_string(generation_);
}

}  // namespace hrmr::server
