// Timers of modules on a running server: where they run, when they pause and stop, what they pin.
#include "server/module_timers.h"

#include <doctest/doctest.h>
#include <pthread.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "eventually.h"
#include "module_gallery.h"
#include "running_server.h"
#include "shelf.h"

using namespace hrmr;
using namespace hrmr::test;

namespace {

constexpr uint32_t kSoonMs = 10;

// What one timer has done; it stays inside while its door is shut.
struct Ticks {
  std::atomic<int> begun{0};
  std::atomic<int> inside{0};
  std::atomic<int> inside_most{0};
  std::atomic<bool> is_shut{false};

  bool have_grown() {
    const int before = begun;
    return eventually([&] { return begun >= before + 3; });
  }
  std::set<std::string> threads() {
    const std::lock_guard lock(mutex_);
    return threads_;
  }

  static void tick(void* context) {
    auto& ticks = *static_cast<Ticks*>(context);
    ticks.note_thread();
    const int inside = ++ticks.inside;
    if (inside > ticks.inside_most) ticks.inside_most = inside;
    ++ticks.begun;
    CHECK(eventually([&] { return !ticks.is_shut; }));
    --ticks.inside;
  }

 private:
  void note_thread() {
    char name[16] = {};
    pthread_getname_np(pthread_self(), name, sizeof name);
    const std::lock_guard lock(mutex_);
    threads_.insert(name);
  }

  std::mutex mutex_;
  std::set<std::string> threads_;
};

TimerSpec ticking(Run run, Ticks& ticks, uint32_t interval_ms = kSoonMs) {
  return {interval_ms, run, Ticks::tick, &ticks};
}

ReloadHooks with(std::vector<TimerSpec> timers) {
  ReloadHooks hooks;
  hooks.timers = std::move(timers);
  return hooks;
}

// With a state, which `save` saves.
ReloadHooks with(std::vector<TimerSpec> timers, std::function<std::string()> save) {
  ReloadHooks hooks = with(std::move(timers));
  hooks.save = std::move(save);
  return hooks;
}

std::string save_nothing() { return {}; }

// Completes what is on the shelf, once it may and some more ticks have passed.
struct Postman {
  Shelf shelf;
  std::atomic<bool> may_go{false};
  std::atomic<int> ticks{0};

  static void tick(void* context) {
    auto& postman = *static_cast<Postman*>(context);
    if (!postman.may_go || ++postman.ticks < 20) return;
    while (hrmr_reply* reply = postman.shelf.take_if_any()) {
      host().write(reply, HRMR_BYTES("posted\n"));
      host().complete(reply);
    }
  }
};

// The timers of a module of two loops, with loops that the test plays: it pins and unpins, and
// hands over what is published and said.
struct PlayedTimers final : server::Control {
  explicit PlayedTimers(ReloadHooks hooks) {
    REQUIRE(loop.open().is_ok());
    loader.hooks = std::move(hooks);
    reload();
    module = loops.changes.back().started.front();
  }
  ~PlayedTimers() { registry.unload_all(); }

  modules::ReloadReport reload() {
    registry.set_inline_module("spec", loader, ++revision);
    const size_t known = loops.changes.size();
    modules::ReloadReport report = registry.reload();
    for (size_t i = known; i < loops.changes.size(); ++i) timers.follow(loops.changes[i]);
    return report;
  }
  // What the loop would sleep for; -1: for ever.
  int64_t sleeps_ms() { return loop.timers().ms_to_next(loop.now_ms()); }

  void reload(std::vector<std::string>, std::function<void(std::string)>) override {}
  void begin_shutdown() override {}
  work::WorkerPool& pool(Run) override { return unused_pool; }
  void let_go(modules::Module*) override {}
  void drained(modules::Module* which) override { has_drained.push_back(which); }
  Log& log() override { return own_log; }

  Log own_log;
  SpecLoader loader;
  FakeLoops loops{2};
  modules::ModuleRegistry registry{two_loops(), {&loader}, loops, own_log};
  uint64_t revision = 0;
  work::WorkerPool unused_pool{work::PoolOptions{"unused", 1, 2}, std::make_unique<work::Crew>()};
  net::EventLoop loop{0};
  server::ModuleTimers timers{loop, *this};
  modules::Module* module = nullptr;  // the first generation
  std::vector<modules::Module*> has_drained;

 private:
  static modules::RegistryOptions two_loops() {
    modules::RegistryOptions options;
    options.loops = 2;
    return options;
  }
};

}  // namespace

TEST_CASE("an inline timer runs on the first loop, a pool timer on a worker, again and again") {
  Ticks on_loop;
  Ticks on_pool;
  Ticks later;
  server::Options options;
  options.loops = 2;
  options.threads = 1;
  Running running({kInline}, options,
                  with({ticking(Run::kInline, on_loop), ticking(Run::kPool, on_pool),
                        ticking(Run::kInline, later, limits::kTimerIntervalMsMax)}));
  CHECK(on_loop.have_grown());
  CHECK(on_pool.have_grown());
  CHECK(on_loop.threads() == std::set<std::string>{"hrmr-loop-0"});
  CHECK(on_pool.threads() == std::set<std::string>{"hrmr-pool-0"});
  CHECK(later.begun == 0);
}

TEST_CASE("runs of one timer never overlap: what is due meanwhile is left out") {
  Ticks slow;
  slow.is_shut = true;
  Ticks quick;
  Running running({kInline}, {}, with({ticking(Run::kPool, slow), ticking(Run::kPool, quick)}));
  CHECK(eventually([&] { return slow.begun == 1; }));
  CHECK(quick.have_grown());
  CHECK(slow.begun == 1);
  slow.is_shut = false;
  CHECK(slow.have_grown());
  CHECK(slow.inside_most == 1);
}

TEST_CASE("a timer that finds the queue full is left out once") {
  Ticks blocking;
  blocking.is_shut = true;
  Ticks left_out;
  Ticks clock;
  server::Options options;
  options.threads = 1;
  options.queue_slots = 2;
  // The first is taken by the only worker, two fill the queue, and the last finds no room.
  Ticks filling[2];
  const auto late = [](Ticks& ticks) { return ticking(Run::kPool, ticks, 10 * kSoonMs); };
  Running running({kInline}, options,
                  with({ticking(Run::kPool, blocking), late(filling[0]), late(filling[1]),
                        late(left_out), ticking(Run::kInline, clock)}));
  CHECK(eventually([&] { return clock.begun >= 25; }));
  CHECK(blocking.begun == 1);
  CHECK(filling[0].begun + filling[1].begun + left_out.begun == 0);
  blocking.is_shut = false;
  CHECK(left_out.have_grown());
}

TEST_CASE("a timer stops with its generation, and the next generation's begins") {
  Ticks old_one;
  Ticks new_one;
  Running running({kInline}, {}, with({ticking(Run::kInline, old_one)}));
  CHECK(old_one.have_grown());
  running.loader->hooks.timers = {ticking(Run::kInline, new_one)};
  CHECK(summary(running.reload()) == "spec reloaded 2");
  CHECK(running.loader->unloads == 1);
  const int begun = old_one.begun;
  CHECK(new_one.have_grown());
  CHECK(old_one.begun == begun);
}

TEST_CASE("a timer on the pool pins its generation while it runs, and no longer") {
  Ticks ticks;
  ticks.is_shut = true;
  server::Options options;
  options.registry.retire_timeout_ms = 30;
  Running running({kInline}, options, with({ticking(Run::kPool, ticks)}));
  CHECK(eventually([&] { return ticks.begun == 1; }));
  running.loader->hooks.timers.clear();
  const modules::ReloadReport report = running.reload();
  CHECK(report.outcomes[0].change == modules::Change::kReloaded);
  CHECK(contains(report.outcomes[0].note, "generation 1 is still in use by 1 timer"));
  CHECK(running.loader->unloads == 0);
  ticks.is_shut = false;
  CHECK(eventually([&] { return running.loader->unloads == 1; }));
  CHECK(ticks.begun == 1);
}

TEST_CASE("while a module hands its state over none of its timers runs, and others do") {
  for (const Run run : {Run::kInline, Run::kPool}) {
    Ticks resting;
    Ticks others;
    SpecLoader other;
    other.hooks.timers = {ticking(Run::kInline, others)};
    bool has_rested = false;
    const auto save = [&] {
      const int begun = resting.begun;
      has_rested = resting.inside == 0 && others.have_grown() && resting.begun == begun;
      return std::string();
    };
    Running running({kInline}, {}, with({ticking(run, resting)}, save));
    running.server->announce_inline_module("other", other, 1);
    CHECK_FALSE(running.server->reload({"other"}).has_failures());
    CHECK(resting.have_grown());
    CHECK(summary(running.reload()) == "spec reloaded 2");
    CHECK(has_rested);
    CHECK(resting.have_grown());
  }
}

TEST_CASE("a timer that does not end keeps its module from resting; after that it goes on") {
  Ticks stuck;
  stuck.is_shut = true;
  Ticks paused;
  server::Options options;
  options.registry.hold_timeout_ms = 30;
  Running running({kInline}, options,
                  with({ticking(Run::kPool, stuck), ticking(Run::kInline, paused)}, save_nothing));
  CHECK(eventually([&] { return stuck.begun == 1; }));
  const modules::ReloadReport report = running.reload();
  CHECK(contains(message_of(report, "spec"),
                 "(hold_timeout) generation 1 is still in use by 1 timer"));
  CHECK(paused.have_grown());
  stuck.is_shut = false;
  CHECK(stuck.have_grown());
  CHECK(summary(running.reload()) == "spec reloaded 2");
}

TEST_CASE("what a timer throws is logged, and it is called again") {
  struct Thrower {
    std::atomic<int> calls{0};
    static void error(void* context) {
      ++static_cast<Thrower*>(context)->calls;
      throw std::runtime_error("no luck");
    }
    static void number(void* context) {
      ++static_cast<Thrower*>(context)->calls;
      throw 42;
    }
  };
  Thrower thrower;
  Thrower other;
  Running running({kInline}, {},
                  with({{kSoonMs, Run::kInline, Thrower::error, &thrower},
                        {kSoonMs, Run::kPool, Thrower::number, &other}}));
  CHECK(eventually([&] { return thrower.calls >= 3 && other.calls >= 3; }));
  std::string log;
  CHECK(eventually([&] {
    log += running.take_log();
    const std::string said = "module.spec: a timer threw a C++ exception, which the ABI forbids";
    return contains(log, said + ": no luck\n") && contains(log, said + "\n");
  }));
  Client client = running.client();
  client.send("IN 1\n");
  CHECK(client.line() == "inline 1\n");
}

TEST_CASE("stop reports a timer that does not end, and works once it has") {
  Ticks stuck;
  stuck.is_shut = true;
  server::Options options;
  options.drain_timeout_ms = 30;
  Running running({kInline}, options, with({ticking(Run::kPool, stuck)}));
  CHECK(eventually([&] { return stuck.begun == 1; }));
  CHECK_FALSE(running.server->stop());
  CHECK(running.loader->unloads == 0);
  stuck.is_shut = false;
  CHECK(running.server->stop());
  CHECK(running.loader->unloads == 1);
}

TEST_CASE("the timers of a replaced generation go on until its deferred replies have come") {
  for (const Run run : {Run::kInline, Run::kPool}) {
    Postman postman;
    server::Options options;
    options.loops = 2;
    options.registry.retire_timeout_ms = 30;
    Running running({kInline, deferring("LATER", run, postman.shelf)}, options,
                    with({{kSoonMs, run, Postman::tick, &postman}}));
    std::vector<Client> clients;  // on both loops, most likely
    for (int i = 0; i < 8; ++i) {
      clients.push_back(running.client());
      clients.back().send("LATER\n");
    }
    CHECK(eventually([&] { return postman.shelf.size() == 8; }));
    running.loader->hooks.timers.clear();
    const modules::ReloadReport report = running.reload();
    CHECK(contains(report.outcomes[0].note, "still in use by 8 deferred requests"));
    postman.may_go = true;
    for (Client& client : clients) CHECK(client.line() == "posted\n");
    CHECK(eventually([&] { return running.loader->unloads == 1; }));
    const int ticks = postman.ticks;
    CHECK(summary(running.reload()) == "spec reloaded 3");
    CHECK(postman.ticks == ticks);
  }
}

TEST_CASE("a module comes to rest when its timers have completed what it has deferred") {
  for (const Run run : {Run::kInline, Run::kPool}) {
    Postman postman;
    Running running({kInline, deferring("LATER", run, postman.shelf)}, {},
                    with({{kSoonMs, run, Postman::tick, &postman}}, save_nothing));
    Client client = running.client();
    client.send("LATER\nIN 1\n");
    CHECK(eventually([&] { return postman.shelf.size() == 1; }));
    // Long before the last of those ticks it is to rest.
    running.loader->hooks.open = [&] { postman.may_go = true; };
    CHECK(summary(running.reload()) == "spec reloaded 2");
    CHECK(client.line() == "posted\n");
    CHECK(client.line() == "inline 1\n");
    CHECK(eventually([&, ticks = postman.ticks.load()] { return postman.ticks >= ticks + 3; }));
    running.loader->hooks.open = nullptr;
  }
}

TEST_CASE("nothing looks again and again whether a replaced module with timers is still in use") {
  Ticks ticks;
  PlayedTimers played(with({ticking(Run::kInline, ticks, limits::kTimerIntervalMsMax)}));
  played.module->pin(0);
  played.module->pin(1);
  played.loader.hooks.timers.clear();
  const modules::ReloadReport report = played.reload();
  CHECK(contains(report.outcomes[0].note, "generation 1 is still in use by 2 requests"));
  // Its own timer, in a day, is all that there is to wake up for.
  CHECK(played.sleeps_ms() > int64_t{limits::kTimerIntervalMsMax} / 2);
  CHECK_FALSE(played.module->unpin(0));
  CHECK(played.sleeps_ms() > int64_t{limits::kTimerIntervalMsMax} / 2);
  REQUIRE(played.module->unpin(1));
  CHECK(played.has_drained.empty());
  played.timers.end(*played.module);
  CHECK(played.has_drained == std::vector{played.module});
  CHECK(played.sleeps_ms() == -1);
  played.registry.unload_drained(played.module);
}

TEST_CASE("a module that resumed before it was known that it came to rest keeps its timers") {
  Ticks ticks;
  PlayedTimers played(
      with({ticking(Run::kInline, ticks, limits::kTimerIntervalMsMax)}, save_nothing));
  played.module->pin(1);
  CHECK(played.reload().has_failures());  // it did not come to rest
  CHECK_FALSE(played.module->unpin(1));
  played.timers.end(*played.module);
  CHECK(played.has_drained.empty());
  CHECK(played.sleeps_ms() > int64_t{limits::kTimerIntervalMsMax} / 2);
}
