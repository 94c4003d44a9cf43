// No fault: it completes its deferred replies from a thread of its own, which its unload joins, and
// from timers.
#include <condition_variable>
#include <hrmr/module.hpp>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

// Replies that wait, and what ends it.
class Waiting {
 public:
  void add(hrmr::Deferred reply, std::string text) {
    const std::lock_guard lock(mutex_);
    replies_.emplace_back(std::move(reply), std::move(text));
    changed_.notify_all();
  }
  void complete_all() {
    std::unique_lock lock(mutex_);
    auto replies = std::exchange(replies_, {});
    lock.unlock();
    for (auto& [reply, text] : replies) {
      reply.write(text).write("\n");
      reply.complete();
    }
  }
  void run() {
    std::unique_lock lock(mutex_);
    while (!is_ending_) {
      changed_.wait(lock, [this] { return is_ending_ || !replies_.empty(); });
      lock.unlock();
      complete_all();
      lock.lock();
    }
  }
  void end() {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<hrmr::Deferred, std::string>> replies_;
  bool is_ending_ = false;
};

struct State {
  Waiting for_thread;
  Waiting for_timer;
  Waiting for_pool_timer;
  std::thread thread{[this] { for_thread.run(); }};

  ~State() {
    for_thread.end();
    thread.join();
  }
};

void later(const hrmr::Request& request, hrmr::Reply& reply, State& state) {
  state.for_thread.add(reply.defer(), "thread " + std::string(request.rest()));
}
void at_timer(const hrmr::Request& request, hrmr::Reply& reply, State& state) {
  state.for_timer.add(reply.defer(), "timer " + std::string(request.rest()));
}
void at_pool_timer(const hrmr::Request& request, hrmr::Reply& reply, State& state) {
  state.for_pool_timer.add(reply.defer(), "pool timer " + std::string(request.rest()));
}
void at_once(const hrmr::Request& request, hrmr::Reply& reply) {
  hrmr::Deferred deferred = reply.defer();
  const bool is_second_empty = !reply.defer();
  hrmr::Deferred moved = std::move(deferred);
  deferred.write("lost").close().fail(500, "lost");
  deferred.complete();
  moved.write(is_second_empty && moved && !deferred ? "at once " : "wrong ");
  moved.write(request.rest()).write("\n");
  moved.complete();
}

void throw_it() { throw std::runtime_error("thrown by a timer"); }

State* load(hrmr::Module& module) {
  auto* state = new State;
  module.route("LATER ", later, *state);
  module.route("POOLLATER ", later, *state, hrmr::kPool);
  module.route("TIMER ", at_timer, *state);
  module.route("POOLTIMER ", at_pool_timer, *state);
  module.route("ONCE ", at_once);
  module.every(
      10, [](State& each) { each.for_timer.complete_all(); }, *state);
  module.every(
      10, [](State& each) { each.for_pool_timer.complete_all(); }, *state, hrmr::kPool);
  module.every(10, throw_it);
  return state;
}

}  // namespace

HRMR_MODULE("answers_later", "1", load)
