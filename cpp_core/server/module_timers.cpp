#include "server/module_timers.h"

#include <exception>
#include <string>

#include "base/call_site.h"
#include "base/limits.h"
#include "server/dispatcher.h"

namespace hrmr::server {

using modules::Module;
using modules::Run;

ModuleTimers::Ticker::Ticker(ModuleTimers& timers, const modules::PeriodicTimer& timer)
    : timers_(timers), timer_(timer), due_ms_(timers.loop_.now_ms() + timer.interval_ms) {}

// What was due while it paused is due now.
void ModuleTimers::Ticker::arm() {
  const uint64_t now_ms = timers_.loop_.now_ms();
  timers_.loop_.timers().arm(*this, due_ms_ > now_ms ? due_ms_ - now_ms : 0);
}

void ModuleTimers::Ticker::disarm() { timers_.loop_.timers().disarm(*this); }

bool ModuleTimers::Ticker::stop() {
  disarm();
  is_stopped_ = true;
  return !is_running_;
}

void ModuleTimers::Ticker::on_timer() {
  due_ms_ = timers_.loop_.now_ms() + timer_.interval_ms;
  arm();
  if (timer_.run == Run::kInline) return call_guarded();
  // One that is due while the last run goes on is left out, and so is one that finds no room in the
  // queue.
  if (is_running_ || !timers_.control_.pool(timer_.run).submit(this)) return;
  is_running_ = true;
  timer_.module->timer_begins();
}

void ModuleTimers::Ticker::run() {
  call_guarded();
  timers_.loop_.post(*this);
}

void ModuleTimers::Ticker::on_delivery() {
  Module* const module = timer_.module;
  ModuleTimers& timers = timers_;
  is_running_ = false;
  if (is_stopped_) timers.erase(*this);  // and with it this object
  if (module->timer_ends()) timers.control_.drained(module);
}

// Where a timer enters a module. What leaves it must not end the server.
void ModuleTimers::Ticker::call_guarded() {
  const Module& module = *timer_.module;
  const CallScope scope({module.name(), module.generation(), "timer", false});
  std::string thrown;
  try {
    return timer_.function(timer_.context);
  } catch (const std::exception& error) {
    thrown = std::string(": ") + error.what();
  } catch (...) {
  }
  timers_.control_.log().error("module." + module.name(),
                               "a timer threw a C++ exception, which the ABI forbids" + thrown);
}

void ModuleTimers::linger(const modules::Publication& change) {
  for (Module* module : change.resting) linger(*module, false);
  for (Module* module : change.retired) linger(*module, true);
}

// Timers that pause already have seen the last request go.
void ModuleTimers::linger(Module& module, bool is_retired) {
  const std::vector<Ticker*> tickers = tickers_of(module);
  if (tickers.empty()) return;
  if (!tickers.front()->is_armed()) return stop(module);
  module.linger();
  lingering_.push_back(std::make_unique<Lingering>(*this, module, is_retired));
}

void ModuleTimers::follow(const modules::Publication& change) {
  for (Module* module : change.resumed) resume(*module);
  for (const Module* module : change.started) start(*module);
  std::vector<Lingering*> all;
  for (const auto& lingering : lingering_) all.push_back(lingering.get());
  for (Lingering* lingering : all) look_at(*lingering);
}

void ModuleTimers::look_at(Lingering& lingering) {
  Module& module = lingering.module;
  if (!module.has_only_timers()) {
    loop_.timers().arm(lingering, limits::kTimerTickMs);
    return;
  }
  if (lingering.is_retired) {
    stop(module);
  } else {
    for (Ticker* ticker : tickers_of(module)) ticker->disarm();
  }
  std::erase_if(lingering_, [&](const auto& each) { return each.get() == &lingering; });
  if (module.leave()) control_.drained(&module);
}

void ModuleTimers::resume(Module& module) {
  const auto is_of_module = [&](const auto& each) { return &each->module == &module; };
  if (std::erase_if(lingering_, is_of_module) != 0) static_cast<void>(module.leave());
  for (Ticker* ticker : tickers_of(module)) ticker->arm();
}

std::vector<ModuleTimers::Ticker*> ModuleTimers::tickers_of(const Module& module) const {
  std::vector<Ticker*> found;
  for (const auto& ticker : tickers_) {
    if (ticker->timer().module == &module) found.push_back(ticker.get());
  }
  return found;
}

void ModuleTimers::start(const Module& module) {
  for (const auto& timer : module.timers()) {
    tickers_.push_back(std::make_unique<Ticker>(*this, *timer));
    tickers_.back()->arm();
  }
}

void ModuleTimers::stop(const Module& module) {
  std::erase_if(tickers_, [&](const auto& ticker) {
    return ticker->timer().module == &module && ticker->stop();
  });
}

void ModuleTimers::erase(const Ticker& ticker) {
  std::erase_if(tickers_, [&](const auto& each) { return each.get() == &ticker; });
}

}  // namespace hrmr::server
