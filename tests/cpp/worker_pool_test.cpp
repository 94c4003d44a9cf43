#include "work/worker_pool.h"

#include <doctest/doctest.h>
#include <pthread.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "eventually.h"

namespace {

using hrmr::monotonic_ms;
using hrmr::test::Deadline;
using hrmr::test::eventually;
using hrmr::work::Crew;
using hrmr::work::Job;
using hrmr::work::PoolOptions;
using hrmr::work::WorkerPool;

struct CountingJob final : Job {
  void run() override { runs.fetch_add(1); }
  std::atomic<int> runs{0};
};

// Stays inside run() until it is let go.
struct HeldJob final : Job {
  void run() override {
    is_inside = true;
    eventually([this] { return may_go.load(); });
    is_inside = false;
  }
  std::atomic<bool> is_inside{false};
  std::atomic<bool> may_go{false};
};

PoolOptions options(unsigned threads, size_t slots = 64) {
  return {.name = "test", .threads = threads, .queue_slots = slots};
}

// A started pool that is stopped at the end of the test, whatever happened.
struct RunningPool {
  explicit RunningPool(PoolOptions given, std::unique_ptr<Crew> crew = std::make_unique<Crew>())
      : pool(std::move(given), std::move(crew)) {
    REQUIRE(pool.start().is_ok());
  }
  ~RunningPool() { CHECK(pool.stop(Deadline().end_ms())); }
  void submit(Job& job) {
    REQUIRE(eventually([&] { return pool.submit(&job); }));
  }
  WorkerPool pool;
};

}  // namespace

TEST_CASE("pool runs every job exactly once") {
  RunningPool running(options(4, 32));
  std::vector<CountingJob> jobs(6000);
  std::vector<std::thread> submitters;
  for (size_t first : {0u, 1u, 2u}) {
    submitters.emplace_back([&, first] {
      for (size_t i = first; i < jobs.size(); i += 3) {
        eventually([&] { return running.pool.submit(&jobs[i]); });
      }
    });
  }
  for (std::thread& submitter : submitters) submitter.join();
  REQUIRE(running.pool.stop(Deadline().end_ms()));
  size_t good = 0;
  for (const CountingJob& job : jobs) good += job.runs == 1 ? 1 : 0;
  CHECK(good == jobs.size());
}

TEST_CASE("a job that finds the pool asleep is run") {
  RunningPool running(options(2));
  CountingJob job;
  for (int round = 1; round <= 3000; ++round) {
    running.submit(job);
    REQUIRE(eventually([&] { return job.runs == round; }));
  }
}

TEST_CASE("as many jobs run at once as there are workers") {
  // Each round needs both workers awake at the same time: a job does not end before the other runs.
  struct MeetingJob final : Job {
    explicit MeetingJob(std::atomic<int>& given) : arrived(given) {}
    void run() override {
      arrived.fetch_add(1);
      if (eventually([this] { return arrived.load() >= 2; })) has_met = true;
    }
    std::atomic<int>& arrived;
    std::atomic<bool> has_met{false};
  };
  RunningPool running(options(2));
  for (int round = 0; round < 1000; ++round) {
    std::atomic<int> arrived{0};
    MeetingJob left(arrived);
    MeetingJob right(arrived);
    std::thread other([&] { running.pool.submit(&right); });
    running.submit(left);
    other.join();
    REQUIRE(eventually([&] { return left.has_met && right.has_met; }));
    REQUIRE(eventually([&] { return running.pool.busy() == 0; }));
  }
}

TEST_CASE("a full queue refuses a job, which stays the caller's") {
  HeldJob held;
  std::vector<CountingJob> queued(4);
  CountingJob refused;
  RunningPool running(options(1, 4));
  running.submit(held);
  REQUIRE(eventually([&] { return held.is_inside.load(); }));
  for (CountingJob& job : queued) REQUIRE(running.pool.submit(&job));
  CHECK_FALSE(running.pool.submit(&refused));
  CHECK(running.pool.queued() == 4);
  CHECK(running.pool.busy() == 1);
  held.may_go = true;
  for (CountingJob& job : queued) CHECK(eventually([&] { return job.runs == 1; }));
  CHECK(refused.runs == 0);
  CHECK(running.pool.submit(&refused));
  CHECK(eventually([&] { return refused.runs == 1; }));
}

namespace {

// What a crew of one worker saw: "[" "j" "]" in order.
struct Diary {
  std::mutex mutex;
  std::string text;
  void write(char c) {
    const std::lock_guard lock(mutex);
    text += c;
  }
};

struct WritingCrew final : Crew {
  WritingCrew(Diary& given, size_t jobs) : diary(given), max(jobs) {}
  void thread_begins() override { diary.write('<'); }
  void thread_ends() override { diary.write('>'); }
  void group_begins() override { diary.write('['); }
  void group_ends() override { diary.write(']'); }
  size_t group_max() const override { return max; }
  Diary& diary;
  size_t max;
};

struct WritingJob final : Job {
  void run() override { diary->write('j'); }
  Diary* diary = nullptr;
};

std::string groups_of(size_t group_max, size_t jobs_waiting) {
  Diary diary;
  WorkerPool pool(options(1), std::make_unique<WritingCrew>(diary, group_max));
  std::vector<WritingJob> jobs(jobs_waiting);
  for (WritingJob& job : jobs) {
    job.diary = &diary;
    REQUIRE(pool.submit(&job));  // before the start, so that the worker finds all of them
  }
  REQUIRE(pool.start().is_ok());
  REQUIRE(pool.stop(Deadline().end_ms()));
  return diary.text;
}

}  // namespace

TEST_CASE("a worker takes at most group_max jobs between group_begins and group_ends") {
  CHECK(groups_of(1, 3) == "<[j][j][j]>");
  CHECK(groups_of(3, 7) == "<[jjj][jjj][j]>");
  CHECK(groups_of(4, 4) == "<[jjjj]>");
  CHECK(groups_of(64, 5) == "<[jjjjj]>");
  CHECK(groups_of(4, 0) == "<>");
}

TEST_CASE("workers are named and leave the signals of the process alone") {
  struct SeeingCrew final : Crew {
    explicit SeeingCrew(std::multiset<std::string>& given) : seen(given) {}
    void thread_begins() override {
      char name[16] = "";
      pthread_getname_np(pthread_self(), name, sizeof name);
      sigset_t blocked;
      pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
      const std::lock_guard lock(mutex);
      seen.insert(name);
      for (int number : {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1}) {
        if (sigismember(&blocked, number) == 0) seen.insert("open signal");
      }
      if (sigismember(&blocked, SIGSEGV) != 0) seen.insert("hidden fault");
    }
    std::mutex mutex;
    std::multiset<std::string>& seen;
  };
  std::multiset<std::string> seen;
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  {
    RunningPool running({.name = "a-rather-long-name", .threads = 2, .queue_slots = 2},
                        std::make_unique<SeeingCrew>(seen));
  }
  CHECK(seen == std::multiset<std::string>{"a-rather-long-0", "a-rather-long-1"});
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  CHECK(sigismember(&after, SIGTERM) == sigismember(&before, SIGTERM));
}

TEST_CASE("stop runs what is queued and then refuses") {
  HeldJob held;
  std::vector<CountingJob> jobs(40);
  CountingJob late;
  RunningPool running(options(2));
  running.submit(held);
  REQUIRE(eventually([&] { return held.is_inside.load(); }));
  for (CountingJob& job : jobs) running.submit(job);
  held.may_go = true;
  REQUIRE(running.pool.stop(Deadline().end_ms()));
  for (const CountingJob& job : jobs) CHECK(job.runs == 1);
  CHECK_FALSE(running.pool.submit(&late));
  CHECK(late.runs == 0);
  CHECK(running.pool.queued() == 0);
}

TEST_CASE("stop gives up at its deadline while a job runs, and may be called again") {
  HeldJob held;
  CountingJob late;
  RunningPool running(options(2));
  running.submit(held);
  REQUIRE(eventually([&] { return held.is_inside.load(); }));
  CHECK_FALSE(running.pool.stop(monotonic_ms() + 20));
  CHECK_FALSE(running.pool.stop(0));
  CHECK(held.is_inside);
  CHECK_FALSE(running.pool.submit(&late));
  held.may_go = true;
  CHECK(running.pool.stop(Deadline().end_ms()));
  CHECK(running.pool.stop(Deadline().end_ms()));
}

TEST_CASE("a job that was accepted while the pool stopped is run") {
  // The workers are out of work most of the time, so that they end at the first moment they may.
  for (int round = 0; round < 150; ++round) {
    std::vector<CountingJob> jobs(200);
    std::vector<std::atomic<bool>> accepted(jobs.size());
    std::atomic<size_t> attempts{0};
    RunningPool running(options(1, 256));
    std::thread submitter([&] {
      for (size_t i = 0; i < jobs.size(); ++i) {
        // Every other one quietly, as the loops do: a stop between the push and the wake-up must
        // not forget it.
        accepted[i] =
            i % 2 == 0 ? running.pool.submit(&jobs[i]) : running.pool.submit_quietly(&jobs[i]);
        ++attempts;
      }
    });
    // Some way into it, at another point in each round.
    while (attempts.load() < static_cast<size_t>(round % 100)) {
    }
    CHECK(running.pool.stop(Deadline().end_ms()));
    submitter.join();
    size_t good = 0;
    for (size_t i = 0; i < jobs.size(); ++i) good += jobs[i].runs == (accepted[i] ? 1 : 0) ? 1 : 0;
    REQUIRE(good == jobs.size());
  }
}

TEST_CASE("jobs that were submitted quietly are run once the pool is woken for them") {
  RunningPool running(options(2));
  for (int round = 0; round < 200; ++round) {
    std::vector<CountingJob> jobs(5);
    for (CountingJob& job : jobs) REQUIRE(running.pool.submit_quietly(&job));
    running.pool.wake_for(jobs.size());
    for (CountingJob& job : jobs) REQUIRE(eventually([&] { return job.runs == 1; }));
  }
}

TEST_CASE("a pool that was never started can be destroyed") {
  const WorkerPool pool(options(3), std::make_unique<Crew>());
  CHECK(pool.busy() == 0);
}
