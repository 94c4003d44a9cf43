// WorkerPool: threads that take jobs from one bounded lock-free queue.
//
// A job is an intrusive object that its owner keeps alive until run() has been called on it; what
// becomes of it then is its own matter (it posts itself back to its loop). submit() never waits and
// never allocates: a full queue is an answer. A sleeping worker is woken only when there is one (a
// cheap check, then one futex call).
//
// Crew: what a kind of worker does around its jobs. The Python crew takes the GIL once for all jobs
// of a group.
//
// Threads: submit from any; start, stop from one. Job::run on a worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace hrmr::work {

class Job {
 public:
  virtual void run() = 0;

 protected:
  ~Job() = default;
};

class Crew {
 public:
  virtual ~Crew() = default;
  virtual void thread_begins() {}
  virtual void thread_ends() {}
  virtual void group_begins() {}  // before the first job of a group
  virtual void group_ends() {}    // after its last one
  // Jobs that one thread runs for one group_begins; 1 or more.
  virtual size_t group_max() const { return 1; }
};

struct PoolOptions {
  std::string name;      // thread names: "NAME-0", 15 bytes at most in all
  unsigned threads = 4;  // 1 to limits::kThreadsMax
  size_t queue_slots = 4096;
};

class WorkerPool {
 public:
  WorkerPool(PoolOptions options, std::unique_ptr<Crew> crew);
  ~WorkerPool();  // stop() must have returned true, or start() never been called
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  Status start();
  // False when the queue is full or the pool has stopped; the job is then still the caller's.
  bool submit(Job* job);
  // The same, but nobody is woken for it: one wake_for must follow soon, for all of a loop's turn.
  bool submit_quietly(Job* job);
  void wake_for(size_t jobs);
  // Runs what is queued, then ends the threads. False when some are still inside a job after
  // `deadline_ms` (monotonic); may then be called again.
  bool stop(uint64_t deadline_ms);

  size_t queued() const;  // about
  unsigned busy() const;  // threads inside a group, about

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hrmr::work
