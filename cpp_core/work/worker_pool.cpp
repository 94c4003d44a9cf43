#include "work/worker_pool.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/alternate_stack.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/signals.h"
#include "work/bounded_queue.h"
#include "work/gate.h"

namespace hrmr::work {
namespace {

// The kernel's limit on a thread's name, without the final zero.
constexpr size_t kThreadNameBytesMax = 15;

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::string thread_name(const std::string& pool, unsigned index) {
  const std::string suffix = "-" + std::to_string(index);
  return pool.substr(0, kThreadNameBytesMax - suffix.size()) + suffix;
}

}  // namespace

struct WorkerPool::State {
  // On a line of its own, because each worker writes its flag twice per group.
  struct alignas(kCacheLineBytes) Worker {
    std::atomic<bool> is_busy{false};
    std::thread thread;
  };

  State(PoolOptions given, std::unique_ptr<Crew> given_crew)
      : options(std::move(given)),
        crew(std::move(given_crew)),
        queue(options.queue_slots),
        workers(new Worker[options.threads]) {}

  void work(unsigned index) noexcept;
  void run_group(Worker& worker, Job* job);
  Job* next_job();  // waits for one; null: the pool has stopped and nothing is left

  const PoolOptions options;
  const std::unique_ptr<Crew> crew;
  BoundedQueue<Job*> queue;
  Gate gate;
  const std::unique_ptr<Worker[]> workers;

  // Starting and stopping only.
  std::mutex mutex;
  std::condition_variable ended;
  unsigned running = 0;  // threads that have not ended
  unsigned joinable = 0;
};

void WorkerPool::State::work(unsigned index) noexcept {
  pthread_setname_np(pthread_self(), thread_name(options.name, index).c_str());
  const AlternateStack signal_stack;
  crew->thread_begins();
  while (Job* job = next_job()) run_group(workers[index], job);
  crew->thread_ends();
  const std::lock_guard lock(mutex);
  --running;
  ended.notify_one();
}

void WorkerPool::State::run_group(Worker& worker, Job* job) {
  worker.is_busy.store(true, std::memory_order_relaxed);
  crew->group_begins();
  size_t left = crew->group_max();
  do {
    job->run();
  } while (left-- > 1 && queue.try_pop(job));
  crew->group_ends();
  worker.is_busy.store(false, std::memory_order_relaxed);
}

Job* WorkerPool::State::next_job() {
  Job* job = nullptr;
  for (;;) {
    for (int i = 0; i < limits::kSpinsBeforeSleep; ++i) {
      if (queue.try_pop(job)) return job;
      pause_briefly();
    }
    const bool is_final = gate.announce();
    if (queue.try_pop(job)) {
      gate.withdraw();
      return job;
    }
    if (is_final) {
      gate.withdraw();
      return nullptr;
    }
    gate.sleep();
    if (queue.try_pop(job)) {
      // A push that was slow to finish may have hidden later ones from other workers, which then
      // went to sleep although their submitters had left (see bounded_queue.h). The wake-up for the
      // slow one is ours, so passing it on is our business too.
      if (queue.approximate_size() != 0) gate.wake_one();
      return job;
    }
  }
}

WorkerPool::WorkerPool(PoolOptions options, std::unique_ptr<Crew> crew) {
  HRMR_CHECK(options.threads >= 1 && options.threads <= limits::kThreadsMax);
  HRMR_CHECK(crew != nullptr && crew->group_max() >= 1);
  state_ = std::make_unique<State>(std::move(options), std::move(crew));
}

WorkerPool::~WorkerPool() { HRMR_CHECK_EQ(state_->joinable, 0); }

Status WorkerPool::start() {
  HRMR_CHECK_EQ(state_->joinable, 0);
  const SignalsBlocked blocked;
  for (unsigned i = 0; i < state_->options.threads; ++i) {
    {
      const std::lock_guard lock(state_->mutex);
      ++state_->running;
    }
    try {
      state_->workers[i].thread = std::thread([state = state_.get(), i] { state->work(i); });
      ++state_->joinable;
    } catch (const std::system_error& error) {
      {
        const std::lock_guard lock(state_->mutex);
        --state_->running;
      }
      while (!stop(UINT64_MAX)) {
      }
      return errno_status("start", "thread " + thread_name(state_->options.name, i),
                          error.code().value());
    }
  }
  return Status::ok();
}

bool WorkerPool::submit(Job* job) {
  if (!state_->gate.enter()) return false;
  const bool is_queued = state_->queue.try_push(job);
  state_->gate.leave();
  return is_queued;
}

bool WorkerPool::submit_quietly(Job* job) {
  if (!state_->gate.enter()) return false;
  const bool is_queued = state_->queue.try_push(job);
  state_->gate.leave_quietly();
  return is_queued;
}

void WorkerPool::wake_for(size_t jobs) { state_->gate.wake_up_to(jobs); }

bool WorkerPool::stop(uint64_t deadline_ms) {
  state_->gate.close();
  {
    // libstdc++'s steady clock is CLOCK_MONOTONIC, as is ours. Far deadlines would overflow its
    // nanoseconds.
    constexpr uint64_t kFarMs = INT64_MAX / 1000000;
    const std::chrono::steady_clock::time_point deadline(
        std::chrono::milliseconds(deadline_ms < kFarMs ? deadline_ms : kFarMs));
    std::unique_lock lock(state_->mutex);
    const auto have_ended = [this] { return state_->running == 0; };
    if (!state_->ended.wait_until(lock, deadline, have_ended)) return false;
  }
  while (state_->joinable != 0) state_->workers[--state_->joinable].thread.join();
  return true;
}

size_t WorkerPool::queued() const { return state_->queue.approximate_size(); }

unsigned WorkerPool::busy() const {
  unsigned busy = 0;
  for (unsigned i = 0; i < state_->options.threads; ++i) {
    if (state_->workers[i].is_busy.load(std::memory_order_relaxed)) ++busy;
  }
  return busy;
}

}  // namespace hrmr::work
