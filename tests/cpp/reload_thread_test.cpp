#include "modules/reload_thread.h"

#include <doctest/doctest.h>
#include <pthread.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "eventually.h"
#include "fake_loader.h"
#include "module_gallery.h"

using hrmr::Log;
using hrmr::modules::Module;
using hrmr::modules::ModuleRegistry;
using hrmr::modules::RegistryOptions;
using hrmr::modules::ReloadReport;
using hrmr::modules::ReloadThread;
using hrmr::modules::Route;
using hrmr::modules::RouteFraming;
using hrmr::modules::RouteTable;
using hrmr::test::eventually;
using hrmr::test::FakeLoader;
using hrmr::test::FakeLoops;
using hrmr::test::summary;

namespace {

// Closed until opened; who waits at it is counted.
class Barrier {
 public:
  void wait() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    opened_.wait(lock, [this] { return is_open_; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    opened_.notify_all();
  }
  bool has_somebody() {
    const std::lock_guard lock(mutex_);
    return arrived_ != 0;
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  int arrived_ = 0;
  bool is_open_ = false;
};

class Bench {
 public:
  Bench() : registry(options(), {&loader}, loops, log), thread(registry, log) {
    REQUIRE(thread.start().is_ok());
  }
  ~Bench() {
    thread.stop();
    registry.unload_all();
  }
  void put(const std::string& name, const std::string& content) {
    hrmr::test::write_file(folder / (name + ".fake"), content);
  }
  // Notes each report as it comes, as "label: summary".
  ReloadThread::Done note(const std::string& label) {
    return [this, label](const ReloadReport& report) {
      const std::lock_guard lock(mutex_);
      notes_.push_back(label + ": " + summary(report));
    };
  }
  std::vector<std::string> notes() {
    const std::lock_guard lock(mutex_);
    return notes_;
  }

  hrmr::test::TempFolder folder;
  Log log;
  FakeLoader loader;
  FakeLoops loops;
  ModuleRegistry registry;
  ReloadThread thread;

 private:
  RegistryOptions options() const {
    RegistryOptions made;
    made.places = {folder.path()};
    return made;
  }

  std::mutex mutex_;
  std::vector<std::string> notes_;
};

}  // namespace

TEST_CASE("reloads, and tells who asked") {
  Bench bench;
  bench.put("a", "A");
  bench.thread.reload({}, bench.note("first"));
  CHECK(eventually([&] { return bench.notes() == std::vector<std::string>{"first: a loaded 1"}; }));
}

TEST_CASE("requests that wait for a reload and ask for the same share the next one") {
  Bench bench;
  bench.put("a", "A");
  Barrier barrier;
  bench.loader.during_load = [&](const std::string&) { barrier.wait(); };
  bench.thread.reload({}, bench.note("1"));
  REQUIRE(eventually([&] { return barrier.has_somebody(); }));
  // The scan of the first is over: what these see must be newer.
  bench.put("b", "B");
  bench.thread.reload({}, bench.note("2"));
  bench.thread.reload({"b", "a"}, bench.note("3"));
  bench.thread.reload({}, bench.note("4"));
  bench.thread.reload({"a", "b", "a"}, bench.note("5"));
  CHECK(bench.notes().empty());
  barrier.open();
  const std::vector<std::string> expected = {
      "1: a loaded 1", "2: a unchanged 1, b loaded 1", "4: a unchanged 1, b loaded 1",
      "3: a unchanged 1, b unchanged 1", "5: a unchanged 1, b unchanged 1"};
  CHECK(eventually([&] { return bench.notes().size() == expected.size(); }));
  CHECK(bench.notes() == expected);
}

TEST_CASE("a reload asked for after some work comes after that work") {
  Bench bench;
  Barrier barrier;
  bench.thread.run([&] { barrier.wait(); });
  REQUIRE(eventually([&] { return barrier.has_somebody(); }));
  bench.thread.reload({}, bench.note("before"));
  bench.thread.run([&] { bench.put("a", "A"); });
  bench.thread.reload({}, bench.note("after"));
  barrier.open();
  CHECK(eventually([&] { return bench.notes().size() == 2; }));
  CHECK(bench.notes() == std::vector<std::string>{"before: ", "after: a loaded 1"});
}

TEST_CASE("unloads what has drained before the next reload") {
  Bench bench;
  bench.put("a", "A");
  bench.thread.reload({}, bench.note("1"));
  REQUIRE(eventually([&] { return bench.notes().size() == 1; }));
  std::filesystem::remove(bench.folder / "a.fake");
  bench.loops.waits_in_vain = true;
  bench.thread.reload({}, bench.note("2"));
  REQUIRE(eventually([&] { return bench.notes().size() == 2; }));
  Barrier barrier;
  bench.thread.run([&] { barrier.wait(); });
  REQUIRE(eventually([&] { return barrier.has_somebody(); }));
  bench.put("a", "A2");
  bench.thread.reload({}, bench.note("3"));
  REQUIRE(bench.loops.drained.size() == 1);
  bench.thread.drained(bench.loops.drained[0]);
  bench.loader.during_load = [&](const std::string&) { bench.loader.events.push_back("load"); };
  barrier.open();
  REQUIRE(eventually([&] { return bench.notes().size() == 3; }));
  bench.thread.stop();
  CHECK(bench.loader.take_events() == "unload a 1, close a 1, load");
}

TEST_CASE("stop completes what is queued, and takes nothing more") {
  Bench bench;
  Barrier barrier;
  bench.thread.run([&] { barrier.wait(); });
  REQUIRE(eventually([&] { return barrier.has_somebody(); }));
  bench.thread.reload({}, bench.note("queued"));
  std::atomic<bool> has_run = false;
  bench.thread.run([&] { has_run = true; });
  barrier.open();
  bench.thread.stop();
  bench.thread.reload({}, bench.note("late"));
  bench.thread.stop();
  CHECK(has_run);
  CHECK(bench.notes() == std::vector<std::string>{"queued: "});
}

TEST_CASE("exceptions of work and of those who wait end nothing") {
  Bench bench;
  bench.thread.run([] { throw std::runtime_error("thrown by work"); });
  bench.thread.reload({}, [](const ReloadReport&) { throw std::runtime_error("thrown by done"); });
  bench.thread.reload({"x"}, bench.note("x"));
  CHECK(eventually([&] { return bench.notes().size() == 1; }));
  const std::string log = hrmr::test::take_log(bench.log);
  CHECK(hrmr::test::contains(log, "thrown by work"));
  CHECK(hrmr::test::contains(log, "thrown by done"));
}

TEST_CASE("its thread has a name and takes no signal") {
  Bench bench;
  std::array<char, 16> name{};
  bool takes_signals = true;
  bench.thread.run([&] {
    pthread_getname_np(pthread_self(), name.data(), name.size());
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
    takes_signals = sigismember(&blocked, SIGINT) != 1 || sigismember(&blocked, SIGTERM) != 1 ||
                    sigismember(&blocked, SIGHUP) != 1;
  });
  bench.thread.stop();
  CHECK(std::string(name.data()) == "hrmr-reload");
  CHECK_FALSE(takes_signals);
}

namespace {

// Loops that are threads: each answers requests from its table, pins modules over "pool" requests,
// and obeys what is posted, as event loops do.
class ThreadedLoops final : public hrmr::modules::Publisher {
 public:
  explicit ThreadedLoops(unsigned count) : loops_(count) {}

  void start(ReloadThread& reload_thread) {
    reload_thread_ = &reload_thread;
    for (unsigned i = 0; i < loops_.size(); ++i) {
      loops_[i].thread = std::thread([this, i] { run(i); });
    }
  }
  void stop() {
    is_stopping_ = true;
    for (Loop& loop : loops_) {
      if (loop.thread.joinable()) loop.thread.join();
    }
  }

  void publish(const hrmr::modules::Publication& change) override {
    std::atomic<size_t> left = loops_.size();
    for (Loop& loop : loops_) {
      const std::lock_guard lock(loop.mutex);
      loop.letters.push_back({change.table, &change.retired, &left});
    }
    while (left != 0) std::this_thread::yield();
  }
  bool wait_drained(Module& module, uint64_t deadline_ms) override {
    return reload_thread_->wait_drained(&module, deadline_ms);
  }
  void forget_drained(Module& module) override { reload_thread_->forget_drained(&module); }
  hrmr::modules::InUse count_use(Module&) override { return {}; }

  std::atomic<uint64_t> answered = 0;
  std::atomic<uint64_t> wrong = 0;

 private:
  struct Letter {
    std::shared_ptr<const RouteTable> table;
    const std::vector<Module*>* retired;
    std::atomic<size_t>* left;
  };
  struct Loop {
    std::thread thread;
    std::mutex mutex;
    std::vector<Letter> letters;
    std::shared_ptr<const RouteTable> table;
    std::deque<const Route*> in_flight;  // pinned
  };

  void run(unsigned index) {
    Loop& loop = loops_[index];
    while (!is_stopping_) {
      obey(loop, index);
      if (loop.table == nullptr) continue;
      const Route* const route = loop.table->match(RouteFraming::kLine, "GOOD").route;
      if (route != nullptr) {
        ask(*route);
        route->module->pin(index);
        loop.in_flight.push_back(route);
      }
      if (loop.in_flight.size() > 8 || route == nullptr) finish_oldest(loop, index);
    }
    while (!loop.in_flight.empty()) finish_oldest(loop, index);
    obey(loop, index);
  }
  void obey(Loop& loop, unsigned index) {
    std::vector<Letter> letters;
    {
      const std::lock_guard lock(loop.mutex);
      letters.swap(loop.letters);
    }
    for (Letter& letter : letters) {
      loop.table = letter.table;
      for (Module* module : *letter.retired) {
        if (module->retire_on(index)) reload_thread_->drained(module);
      }
      --*letter.left;
    }
  }
  void finish_oldest(Loop& loop, unsigned index) {
    if (loop.in_flight.empty()) return;
    const Route* const route = loop.in_flight.front();
    loop.in_flight.pop_front();
    ask(*route);
    Module* const module = route->module;
    if (module->unpin(index)) reload_thread_->drained(module);
  }
  void ask(const Route& route) {
    ++answered;
    if (hrmr::test::call(route, "GOOD") != route.module->version()) ++wrong;
  }

  ReloadThread* reload_thread_ = nullptr;
  std::atomic<bool> is_stopping_ = false;
  std::vector<Loop> loops_;
};

}  // namespace

TEST_CASE("reloads, removes and restores compiled modules a hundred times under traffic") {
  hrmr::test::TempFolder folder;
  Log log;
  hrmr::modules::NativeLoader loader(hrmr::test::test_host(), log);
  ThreadedLoops loops(3);
  RegistryOptions options;
  options.places = {folder.path()};
  options.loops = 3;
  ModuleRegistry registry(options, {&loader}, loops, log);
  ReloadThread thread(registry, log);
  REQUIRE(thread.start().is_ok());
  loops.start(thread);
  std::mutex mutex;
  std::vector<std::string> reports;
  const auto reload = [&] {
    size_t seen = 0;
    thread.reload({}, [&](const ReloadReport& report) {
      const std::lock_guard lock(mutex);
      reports.push_back(summary(report));
    });
    CHECK(eventually([&] {
      const std::lock_guard lock(mutex);
      seen = reports.size();
      return !reports.empty();
    }));
    const std::lock_guard lock(mutex);
    return std::exchange(reports, {}).back();
  };
  uint64_t generation = 0;
  for (int round = 0; round < 100; ++round) {
    for (const char* version : {"1", "2"}) {
      const std::string verb = std::string(version) == "1" ? "loaded " : "reloaded ";
      hrmr::test::write_file(folder / "good.so", hrmr::test::good_module("good", version, "GOOD"));
      REQUIRE(reload() == "good " + verb + std::to_string(++generation));
    }
    std::filesystem::remove(folder / "good.so");
    REQUIRE(reload() == "good removed 0");
  }
  // Each loop finishes what it has in flight when there is no route any more.
  std::atomic<size_t> draining = 1;
  CHECK(eventually([&] {
    thread.run([&] { draining = registry.still_draining().size(); });
    return draining == 0;
  }));
  loops.stop();
  thread.stop();
  registry.unload_all();
  CHECK(loops.answered > 0);
  CHECK(loops.wrong == 0);
  const std::string records = hrmr::test::take_log(log);
  size_t unloads = 0;
  for (size_t at = records.find("reload: unloaded good"); at != std::string::npos;
       at = records.find("reload: unloaded good", at + 1)) {
    ++unloads;
  }
  CHECK(unloads == generation);
  CHECK_FALSE(hrmr::test::contains(records, "still mapped"));
}
