// Watch: reloads modules by themselves when their files change.
//
// The first loop only waits: for the watcher's descriptor, or some time. Then the reload thread
// looks, reloads what has settled, and sends this object, a letter, back to the loop, which waits
// again. While it is away the loop takes no notice, so there is one look or reload at a time, and
// what changes meanwhile is seen by the next: the kernel keeps the notices.
//
// Threads: on_* on the loop's own; begin before the reload thread has work; end from any; close
// when both have ended; the rest on the reload thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <set>
#include <string>

#include "base/log.h"
#include "modules/file_watcher.h"
#include "modules/reload_thread.h"
#include "net/event_loop.h"
#include "net/timer_wheel.h"

namespace hrmr::server {

class Watch final : public net::Source, public net::Timer, public net::Letter {
 public:
  using OnReloaded = std::function<void(const modules::ReloadReport&)>;

  // `on_reloaded`: on the reload thread, after each reload that the watch asked for.
  Watch(modules::WatchOptions options, Log& log, OnReloaded on_reloaded);

  // Changes are seen from here on, and acted upon once both threads run.
  void begin(modules::ReloadThread& reload_thread, net::EventLoop& loop);
  // No more reloads.
  void end() { has_ended_.store(true, std::memory_order_relaxed); }
  // Once the loop and the reload thread have ended.
  void close() { watcher_.close(); }

  void on_event(uint32_t events) override;
  void on_timer() override;
  void on_delivery() override;

 private:
  void ask();
  void look();
  void reload(modules::SettledModules settled);
  void note_failures(const modules::ReloadReport& report);

  Log& log_;
  OnReloaded on_reloaded_;
  modules::FileWatcher watcher_;
  modules::ReloadThread* reload_thread_ = nullptr;
  net::EventLoop* loop_ = nullptr;
  std::set<std::string> failed_;  // that the last reload of the watch could not load
  std::atomic<bool> has_ended_{false};
  bool is_away_ = true;  // on the way to the reload thread, or back
  bool is_attached_ = false;
};

}  // namespace hrmr::server
