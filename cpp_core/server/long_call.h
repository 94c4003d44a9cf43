// LongCall: says in the log which module's load, save_state or unload does not end. While one runs
// nothing is reloaded or unloaded, and who asks for a RELOAD waits.
//
// The reload thread notes when such a call begins and ends; the first loop looks, once it has been
// told that there is something to look at, until it finds nothing. (Of what stop() unloads when the
// loops have ended nothing is said.)
//
// Threads: begin_call, end_call: the reload thread; start, close: when that one does not run; on_*:
// the loop's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/log.h"
#include "modules/registry.h"
#include "net/event_loop.h"
#include "net/timer_wheel.h"

namespace hrmr::server {

class LongCall final : public net::Timer, public net::Letter {
 public:
  // A call is named once it has taken `long_ms`, and again after each further `again_ms`.
  LongCall(Log& log, uint64_t long_ms, uint64_t again_ms);

  void start(net::EventLoop& loop);
  void close();  // before the loop ends; calls are not looked at any more

  void begin_call(const modules::ModuleCall& call);
  void end_call();

  void on_delivery() override;
  void on_timer() override;

 private:
  std::string shown() const;

  Log& log_;
  const uint64_t long_ms_;
  const uint64_t again_ms_;
  std::atomic<bool> is_watched_{false};  // the letter is under way, or the timer is armed
  std::atomic<bool> is_running_{false};
  std::mutex mutex_;  // what follows
  net::EventLoop* loop_ = nullptr;
  std::string module_;
  uint64_t generation_ = 0;
  const char* function_ = "";
  uint64_t began_ms_ = 0;
  uint64_t told_ms_ = 0;  // when it was named; 0: not yet
};

}  // namespace hrmr::server
