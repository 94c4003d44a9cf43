// ModuleTimers: the periodic timers of all modules that serve (hrmr_timer), on the first loop.
//
// They follow the publications: a module's timers begin when it starts, pause while it rests, go on
// when it resumes, and stop for ever when it retires. Pause and stop come with the end of the last
// request that is under way, and not before: a timer may be what completes a deferred reply. A
// timer that runs on a pool pins its module like a request, so that the module neither is at rest
// nor unloaded before it ends.
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

  // Before this loop tells the modules (Module::rest_on and the like), and after that.
  void linger(const modules::Publication& change);
  void follow(const modules::Publication& change);

 private:
  // A module that rests or is retired, with requests under way as far as is known. Other loops say
  // nothing when they are done, so it looks again and again.
  class Lingering final : public net::Timer {
   public:
    Lingering(ModuleTimers& timers, modules::Module& of, bool retired)
        : module(of), is_retired(retired), timers_(timers) {}
    void on_timer() override { timers_.look_at(*this); }

    modules::Module& module;
    const bool is_retired;

   private:
    ModuleTimers& timers_;
  };

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
  void linger(modules::Module& module, bool is_retired);
  void look_at(Lingering& lingering);
  void resume(modules::Module& module);
  void stop(const modules::Module& module);
  void erase(const Ticker& ticker);

  net::EventLoop& loop_;
  Control& control_;
  std::vector<std::unique_ptr<Ticker>> tickers_;
  std::vector<std::unique_ptr<Lingering>> lingering_;
};

}  // namespace hrmr::server
