#include "server/module_timers.h"

#include <exception>
#include <string>

#include "base/call_site.h"
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

void ModuleTimers::follow(const modules::Publication& change) {
  for (const Module* module : change.resumed) {
    for (Ticker* ticker : tickers_of(*module)) ticker->arm();
  }
  for (const Module* module : change.started) start(*module);
}

void ModuleTimers::end(Module& module) {
  switch (module.phase_on(loop_.index())) {
    case Module::Phase::kServing:
      return;  // it has resumed since
    case Module::Phase::kResting:
      for (Ticker* ticker : tickers_of(module)) ticker->disarm();
      break;
    case Module::Phase::kRetired:
      stop(module);
      break;
  }
  if (module.end_timers()) control_.drained(&module);
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
