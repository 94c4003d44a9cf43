// ReloadThread: the one thread that loads, publishes and unloads. Requests are served in order;
// those that wait while a reload runs and ask for the same are merged into the next one, so that a
// request is never lost and never answered by a scan that began before it was made.
//
// Threads: start, stop from one; the others from any.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "modules/registry.h"

namespace hrmr::modules {

class ReloadThread {
 public:
  // Runs on the reload thread. One that was handed in before stop() is called; one that came later
  // is dropped uncalled.
  using Done = std::function<void(const ReloadReport&)>;

  ReloadThread(ModuleRegistry& registry, Log& log);
  ~ReloadThread();

  Status start();
  void reload(std::vector<std::string> only, Done done);
  // Runs `work` on the reload thread, in order with the reloads. For set_inline_module and the
  // like.
  // Dropped once stop() has begun.
  void run(std::function<void()> work);
  bool is_current_thread() const;
  void drained(Module* module);  // from a loop: nobody is inside it
  // On the reload thread, inside a reload: see Publisher.
  bool wait_drained(Module* module, uint64_t deadline_ms);
  void forget_drained(Module* module);
  // From now on wait_drained does not wait: at shutdown nobody is left who could use a module less.
  void end_waits();
  // Completes what is queued (each Done is called), then ends the thread.
  void stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hrmr::modules
