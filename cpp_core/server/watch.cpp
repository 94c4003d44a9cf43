#include "server/watch.h"

#include <sys/epoll.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace hrmr::server {

Watch::Watch(modules::WatchOptions options, Log& log, OnReloaded on_reloaded)
    : log_(log), on_reloaded_(std::move(on_reloaded)), watcher_(std::move(options), log) {}

void Watch::begin(modules::ReloadThread& reload_thread, net::EventLoop& loop) {
  reload_thread_ = &reload_thread;
  loop_ = &loop;
  watcher_.open();
  loop.post(*this);
}

void Watch::on_delivery() {
  is_away_ = false;
  if (has_ended_.load(std::memory_order_relaxed)) return;
  const uint64_t delay_ms = watcher_.look_again_ms();
  if (delay_ms != 0) loop_->timers().arm(*this, delay_ms);
  const int fd = watcher_.fd();
  if (fd < 0) return;  // it polls; a descriptor that was closed has left the epoll set
  // Once: a linker that writes for a second shall not wake the loop at every block.
  const uint32_t events = EPOLLIN | EPOLLONESHOT;
  const Status armed = std::exchange(is_attached_, true) ? loop_->modify(fd, *this, events)
                                                         : loop_->add(fd, *this, events);
  if (!armed.is_ok()) log_.error("reload", armed.message());
}

void Watch::on_event(uint32_t) {
  // While something has not settled the timer looks, and a notice need not.
  if (!is_armed()) ask();
}

void Watch::on_timer() { ask(); }

void Watch::ask() {
  if (is_away_ || has_ended_.load(std::memory_order_relaxed)) return;
  is_away_ = true;
  reload_thread_->run([this] { look(); });
}

void Watch::look() {
  modules::SettledModules settled;
  if (!has_ended_.load(std::memory_order_relaxed)) settled = watcher_.look(monotonic_ms());
  if (settled.names.empty()) {
    loop_->post(*this);
  } else {
    reload(std::move(settled));
  }
}

// A module that goes may have had the prefix that another one was refused for: so it is when a file
// gets another name.
void Watch::reload(modules::SettledModules settled) {
  if (!settled.gone.empty()) {
    std::copy_if(failed_.begin(), failed_.end(), std::back_inserter(settled.names),
                 [this](const std::string& name) { return !watcher_.is_pending(name); });
  }
  auto done = [this, gone = std::move(settled.gone)](modules::ReloadReport report) {
    for (const std::string& name : gone) failed_.erase(name);
    // A file that came and went before it was ever loaded is nobody's concern.
    std::erase_if(report.outcomes, [&](const modules::Outcome& outcome) {
      return outcome.change == modules::Change::kFailed && outcome.old_generation == 0 &&
             gone.contains(outcome.name);
    });
    note_failures(report);
    on_reloaded_(report);
    loop_->post(*this);
  };
  reload_thread_->reload(std::move(settled.names), std::move(done));
}

void Watch::note_failures(const modules::ReloadReport& report) {
  for (const modules::Outcome& outcome : report.outcomes) {
    if (outcome.change == modules::Change::kFailed) {
      failed_.insert(outcome.name);
    } else {
      failed_.erase(outcome.name);
    }
  }
}

}  // namespace hrmr::server
