// ModuleTimers: the periodic timers of all modules that serve (hrmr_timer), on the first loop.
//
// They follow the publications: a module's timers begin when it starts, pause while it rests, go on
// when it resumes, and stop for ever when it retires. Pause and stop come with the end of the last
// request that is under way (Control::let_go), and not before: a timer may be what completes a
// deferred reply. A run that is still on a pool then is waited for: before it ends, the module
// neither is at rest nor unloaded.
//
// At shutdown they go on until the loops end: a module may need them to complete its last replies.
//
// Threads: its loop's; Ticker::run on a worker.
#pragma once

#include <memory>
#include <vector>

#include "modules/registry.h"
#include "net/event_loop.h"
#include "net/timer_wheel.h"
#include "work/worker_pool.h"

namespace hrmr::server {

class Control;

class ModuleTimers {
 public:
  ModuleTimers(net::EventLoop& loop, Control& control) : loop_(loop), control_(control) {}
  ModuleTimers(const ModuleTimers&) = delete;
  ModuleTimers& operator=(const ModuleTimers&) = delete;

  // After this loop has told the modules (Module::resume_on and the like).
  void follow(const modules::Publication& change);
  // All loops have let go of the module. Not from one of its timers.
  void end(modules::Module& module);

 private:
  class Ticker final : public net::Timer, public work::Job, public net::Letter {
   public:
    Ticker(ModuleTimers& timers, const modules::PeriodicTimer& timer);

    const modules::PeriodicTimer& timer() const { return timer_; }
    void arm();
    void disarm();
    // No further run begins. True: none is under way either; else it ends itself.
    bool stop();

    void on_timer() override;
    void run() override;          // on a worker
    void on_delivery() override;  // that run has ended

   private:
    void call_guarded();

    ModuleTimers& timers_;
    const modules::PeriodicTimer& timer_;
    uint64_t due_ms_;
    bool is_running_ = false;  // on a pool, or in its queue
    bool is_stopped_ = false;
  };

  std::vector<Ticker*> tickers_of(const modules::Module& module) const;
  void start(const modules::Module& module);
  void stop(const modules::Module& module);
  void erase(const Ticker& ticker);

  net::EventLoop& loop_;
  Control& control_;
  std::vector<std::unique_ptr<Ticker>> tickers_;
};

}  // namespace hrmr::server
