#include "modules/reload_thread.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/alternate_stack.h"
#include "base/signals.h"

namespace hrmr::modules {

namespace {

// Either work to run, or a reload and who waits for it.
struct Job {
  std::function<void()> work;  // empty: a reload
  std::vector<std::string> only;
  std::vector<ReloadThread::Done> waiting;
};

ReloadReport failed_report(const std::string& why) {
  ReloadReport report;
  Outcome outcome;
  outcome.name = "reload";
  outcome.change = Change::kFailed;
  outcome.message = why;
  report.outcomes.push_back(std::move(outcome));
  return report;
}

}  // namespace

struct ReloadThread::State {
  State(ModuleRegistry& the_registry, Log& the_log) : registry(the_registry), log(the_log) {}

  void run();
  void run_job(Job& job);
  void unload(const std::vector<Module*>& modules);
  template <class Call>
  void guard(const Call& call);

  ModuleRegistry& registry;
  Log& log;
  std::thread thread;

  std::mutex mutex;  // what follows
  std::condition_variable arrived;
  std::deque<Job> jobs;
  std::vector<Module*> drained;
  bool is_stopping = false;
  bool waits_no_more = false;
};

// No exception leaves the thread: whoever gave us the call must not end the server.
template <class Call>
void ReloadThread::State::guard(const Call& call) {
  try {
    call();
  } catch (const std::exception& error) {
    log.error("reload", std::string("unexpected exception: ") + error.what());
  } catch (...) {
    log.error("reload", "unexpected exception");
  }
}

void ReloadThread::State::run() {
  pthread_setname_np(pthread_self(), "hrmr-reload");
  const AlternateStack signal_stack;
  std::unique_lock lock(mutex);
  for (;;) {
    arrived.wait(lock, [this] { return is_stopping || !jobs.empty() || !drained.empty(); });
    if (!drained.empty()) {
      // Before the next reload: memory of old generations is given back first.
      const std::vector<Module*> modules = std::exchange(drained, {});
      lock.unlock();
      unload(modules);
      lock.lock();
    } else if (!jobs.empty()) {
      Job job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      run_job(job);
      job = Job();  // what its functions hold is let go of here, without the lock
      lock.lock();
    } else {
      return;
    }
  }
}

void ReloadThread::State::run_job(Job& job) {
  if (job.work) return guard(job.work);
  ReloadReport report;
  try {
    report = registry.reload(job.only);
  } catch (const std::exception& error) {
    log.error("reload", std::string("reload failed: ") + error.what());
    report = failed_report(error.what());
  }
  for (const Done& done : job.waiting) {
    if (done) guard([&] { done(report); });
  }
}

void ReloadThread::State::unload(const std::vector<Module*>& modules) {
  for (Module* module : modules) {
    guard([&] { registry.unload_drained(module); });
  }
}

ReloadThread::ReloadThread(ModuleRegistry& registry, Log& log)
    : state_(std::make_unique<State>(registry, log)) {}

ReloadThread::~ReloadThread() { stop(); }

Status ReloadThread::start() {
  const SignalsBlocked blocked;
  Status status = Status::ok();
  try {
    state_->thread = std::thread([state = state_.get()] { state->run(); });
  } catch (const std::system_error& error) {
    status = errno_status("start", "the reload thread", error.code().value());
  }
  return status;
}

void ReloadThread::reload(std::vector<std::string> only, Done done) {
  std::sort(only.begin(), only.end());
  only.erase(std::unique(only.begin(), only.end()), only.end());
  const std::lock_guard lock(state_->mutex);
  if (state_->is_stopping) return;
  // Joins a reload that has not begun, but never one that is in the queue before some work: the
  // caller may have asked for that work first.
  for (auto job = state_->jobs.rbegin(); job != state_->jobs.rend() && !job->work; ++job) {
    if (job->only != only) continue;
    job->waiting.push_back(std::move(done));
    return;
  }
  Job job;
  job.only = std::move(only);
  job.waiting.push_back(std::move(done));
  state_->jobs.push_back(std::move(job));
  state_->arrived.notify_one();
}

void ReloadThread::run(std::function<void()> work) {
  const std::lock_guard lock(state_->mutex);
  if (state_->is_stopping) return;
  Job job;
  job.work = std::move(work);
  state_->jobs.push_back(std::move(job));
  state_->arrived.notify_one();
}

bool ReloadThread::is_current_thread() const {
  return state_->thread.get_id() == std::this_thread::get_id();
}

void ReloadThread::drained(Module* module) {
  const std::lock_guard lock(state_->mutex);
  state_->drained.push_back(module);
  state_->arrived.notify_one();
}

bool ReloadThread::wait_drained(Module* module, uint64_t deadline_ms) {
  std::vector<Module*>& drained = state_->drained;
  const std::chrono::steady_clock::time_point deadline{std::chrono::milliseconds(deadline_ms)};
  std::unique_lock lock(state_->mutex);
  bool has_drained = false;
  state_->arrived.wait_until(lock, deadline, [&] {
    has_drained = std::erase(drained, module) != 0;
    return has_drained || state_->waits_no_more;
  });
  return has_drained;
}

void ReloadThread::end_waits() {
  const std::lock_guard lock(state_->mutex);
  state_->waits_no_more = true;
  state_->arrived.notify_one();
}

void ReloadThread::forget_drained(Module* module) {
  const std::lock_guard lock(state_->mutex);
  std::erase(state_->drained, module);
}

void ReloadThread::stop() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->is_stopping = true;
    state_->arrived.notify_one();
  }
  if (state_->thread.joinable()) state_->thread.join();
}

}  // namespace hrmr::modules
