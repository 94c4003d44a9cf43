// State hand-over and the policies `hold` and `reject`: in which order the registry does what, and
// what it takes back.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "fake_loader.h"
#include "modules/registry.h"

using hrmr::modules::Change;
using hrmr::modules::Module;
using hrmr::modules::Publication;
using hrmr::modules::RegistryOptions;
using hrmr::modules::ReloadPolicy;
using hrmr::modules::RouteMark;
using hrmr::test::contains;
using hrmr::test::FakeModules;
using hrmr::test::message_of;

namespace {

RegistryOptions with_policy(ReloadPolicy policy) {
  RegistryOptions options;
  options.policy = policy;
  return options;
}

// Two modules, of which `kv` hands its state over, loaded.
struct Bench : FakeModules {
  explicit Bench(RegistryOptions options = {}, unsigned loop_count = 1)
      : FakeModules(std::move(options), loop_count) {
    put("a", "A");
    put("kv", "KV\nSAVE one");
    REQUIRE(reload() == "a loaded 1, kv loaded 1");
    loader.take_events();
  }
  Module& module_of(const std::string& bytes) { return *loops.match(bytes).route->module; }
  std::string note_of(const std::string& name) {
    for (const auto& outcome : report.outcomes) {
      if (outcome.name == name) return outcome.note;
    }
    return "no outcome for " + name;
  }
};

}  // namespace

TEST_CASE("hands the state over: rest, save, load, then the old one goes") {
  Bench bench;
  bench.put("kv", "KV\nSAVE two");
  RouteMark during_load = RouteMark::kNone;
  bench.loader.during_load = [&](const std::string&) {
    during_load = bench.loops.match("KV").mark;
  };
  CHECK(bench.reload() == "a unchanged 1, kv reloaded 2");
  CHECK(bench.loader.take_events() == "save kv 1, load kv 2 from one, unload kv 1, close kv 1");
  CHECK(during_load == RouteMark::kHold);
  CHECK(bench.loops.match("KV").mark == RouteMark::kNone);
  CHECK(bench.loops.match("A").mark == RouteMark::kNone);
  CHECK(bench.note_of("kv") == "");
}

TEST_CASE("is loaded without a state at first, and when it was away") {
  Bench bench;
  bench.remove("kv");
  CHECK(bench.reload() == "a unchanged 1, kv removed 0");
  bench.put("kv", "KV\nSAVE two");
  CHECK(bench.reload() == "a unchanged 1, kv loaded 2");
  CHECK(bench.loader.take_events() == "unload kv 1, close kv 1");
}

TEST_CASE("opens the new file before it holds anything back") {
  Bench bench;
  RouteMark during_open = RouteMark::kReject;
  bench.loader.during_open = [&](const std::string&) {
    during_open = bench.loops.match("KV").mark;
  };
  bench.put("kv", "KV\nSAVE two");
  bench.reload();
  CHECK(during_open == RouteMark::kNone);
}

TEST_CASE("saves only when no request is inside, on any loop") {
  Bench bench({}, 2);
  Module& old = bench.module_of("KV");
  old.pin(0);
  old.pin(1);
  bench.loops.on_wait = [&](Module& module) {
    if (&module != &old || bench.loader.events.size() != 0) return;
    CHECK(bench.loops.drained.empty());
    CHECK_FALSE(old.unpin(1));
    CHECK(old.unpin(0));
    bench.loops.drained.push_back(&old);
  };
  bench.put("kv", "KV\nSAVE two");
  CHECK(bench.reload() == "a unchanged 1, kv reloaded 2");
  CHECK(bench.loader.take_events() == "save kv 1, load kv 2 from one, unload kv 1, close kv 1");
}

TEST_CASE("a module that does not come to rest serves on, and the answer names what holds it") {
  RegistryOptions options;
  options.hold_timeouts_ms["kv"] = 77;
  Bench bench(std::move(options));
  Module& old = bench.module_of("KV");
  CHECK(old.hold_timeout_ms() == 77);
  old.pin(0);
  old.pin(0);
  old.defer_begins();
  bench.put("kv", "KV\nSAVE two");
  CHECK(bench.reload() == "a unchanged 1, kv failed 1");
  CHECK(
      message_of(bench.report, "kv") ==
      "its state cannot be handed over: after 77 ms (hold_timeout) generation 1 is still in use by "
      "2 requests, 1 of them deferred");
  CHECK(bench.loops.match("KV").mark == RouteMark::kNone);
  CHECK(bench.loader.take_events() == "close kv 2");
  REQUIRE(bench.loops.changes.back().resumed == std::vector<Module*>{&old});
  // It serves, so its requests end without a word, and the next reload can have it.
  CHECK_FALSE(old.unpin(0));
  CHECK_FALSE(old.unpin(0));
  old.defer_ends();
  CHECK(bench.reload() == "a unchanged 1, kv reloaded 2");
  CHECK(bench.loader.take_events() == "save kv 1, load kv 2 from one, unload kv 1, close kv 1");
}

TEST_CASE("a refused state rolls back: the old generation serves on") {
  Bench bench;
  Module& old = bench.module_of("KV");
  bench.put("kv", "KV\nSAVE two\nREFUSE schema 1 is unknown");
  CHECK(bench.reload() == "a unchanged 1, kv failed 1");
  CHECK(message_of(bench.report, "kv") == "schema 1 is unknown");
  CHECK(bench.loader.take_events() == "save kv 1, load kv 2 from one, close kv 2");
  CHECK(bench.loops.ask("KV") == "KV\nSAVE one");
  CHECK(bench.loops.match("KV").mark == RouteMark::kNone);
  CHECK(bench.loops.changes.back().resumed == std::vector<Module*>{&old});
  CHECK(bench.loops.drained.empty());
}

TEST_CASE("a state that cannot be saved keeps the old generation") {
  Bench bench;
  bench.put("kv", "KV\nSAVE! the disk is full");
  CHECK(bench.reload() == "a unchanged 1, kv reloaded 2");
  bench.loader.take_events();
  bench.put("kv", "KV\nSAVE three");
  CHECK(bench.reload() == "a unchanged 1, kv failed 2");
  CHECK(message_of(bench.report, "kv") == "the disk is full");
  CHECK(bench.loader.take_events() == "save kv 2, close kv 3");
}

TEST_CASE("a prefix conflict after the hand-over rolls back too") {
  Bench bench;
  Module& old = bench.module_of("KV");
  bench.put("kv", "KV\nA\nSAVE two");
  CHECK(bench.reload() == "a unchanged 1, kv failed 1");
  CHECK(contains(message_of(bench.report, "kv"), "already registered by module a"));
  CHECK(bench.loader.take_events() == "save kv 1, load kv 2 from one, unload kv 2, close kv 2");
  CHECK(bench.loops.changes.back().resumed == std::vector<Module*>{&old});
}

TEST_CASE("under `swap` the state is saved while the old generation serves") {
  Bench bench(with_policy(ReloadPolicy::kSwap));
  bench.module_of("KV").pin(0);
  bench.put("kv", "KV\nSAVE two");
  CHECK(bench.reload() == "a unchanged 1, kv reloaded 2");
  CHECK(bench.loader.take_events() == "save kv 1, load kv 2 from one");
  CHECK(bench.note_of("kv") == "generation 1 is still in use by 1 request");
  CHECK(bench.loops.publications == 2);
}

TEST_CASE("under `reject` the state is saved at rest") {
  Bench bench(with_policy(ReloadPolicy::kReject));
  Module& old = bench.module_of("KV");
  bench.put("kv", "KV\nSAVE two");
  RouteMark during_load = RouteMark::kNone;
  bench.loader.during_load = [&](const std::string&) {
    during_load = bench.loops.match("KV").mark;
  };
  CHECK(bench.reload() == "a unchanged 1, kv reloaded 2");
  CHECK(during_load == RouteMark::kReject);
  CHECK(bench.loops.changes[2].resting == std::vector<Module*>{&old});
}

TEST_CASE("under `hold` a module without a state is held, and need not be at rest") {
  Bench bench(with_policy(ReloadPolicy::kHold));
  bench.module_of("A").pin(0);
  bench.put("a", "A\nAA");
  RouteMark during_load = RouteMark::kNone;
  bench.loader.during_load = [&](const std::string&) { during_load = bench.loops.match("A").mark; };
  CHECK(bench.reload() == "a reloaded 2, kv unchanged 1");
  CHECK(during_load == RouteMark::kHold);
  CHECK(bench.loops.changes[1].resting.empty());
  CHECK(bench.note_of("a") == "generation 1 is still in use by 1 request");
}

TEST_CASE("a module's own policy wins, also the one that follows from its state") {
  RegistryOptions options = with_policy(ReloadPolicy::kReject);
  options.policies["kv"] = ReloadPolicy::kAuto;
  Bench bench(std::move(options));
  bench.put("kv", "KV\nSAVE two");
  RouteMark during_load = RouteMark::kNone;
  bench.loader.during_load = [&](const std::string&) {
    during_load = bench.loops.match("KV").mark;
  };
  bench.reload();
  CHECK(during_load == RouteMark::kHold);
}

TEST_CASE("a module that is slow to come to rest holds up no other") {
  RegistryOptions options;
  options.policies["b"] = ReloadPolicy::kHold;
  Bench bench(std::move(options));
  bench.put("b", "B\nSAVE b1");
  bench.put("c", "C");
  bench.reload();
  bench.put("a", "A\nAA");
  bench.put("b", "B\nSAVE b2");
  bench.put("c", "C\nCC");
  bench.put("kv", "KV\nSAVE two");
  const auto shown = [&](const std::string& bytes) {
    const auto match = bench.loops.match(bytes);
    const std::string generation = std::to_string(match.route->module->generation());
    return generation + (match.mark == RouteMark::kHold ? "h " : " ");
  };
  std::string seen;
  bench.loops.on_wait = [&](Module& module) {
    if (bench.loops.changes.back().resting.empty()) return;
    seen += module.name() + ": a" + shown("A") + "b" + shown("B") + "c" + shown("C") + "kv" +
            shown("KV");
  };
  CHECK(bench.reload() == "a reloaded 2, b reloaded 2, c reloaded 2, kv reloaded 2");
  // What needs no rest serves already; of the others one at a time is held.
  CHECK(seen == "b: a2 b1h c2 kv1 kv: a2 b2 c2 kv1h ");
}

TEST_CASE("takes a prefix that a module gives up in the same reload, also one that is held") {
  Bench bench;
  bench.put("a", "A\nKV");
  bench.put("kv", "KV2\nSAVE two");
  CHECK(bench.reload() == "a reloaded 2, kv reloaded 2");
  CHECK(bench.module_of("KV").name() == "a");
  CHECK(bench.module_of("KV2").name() == "kv");
}

TEST_CASE("tells what it started, so that timers begin") {
  Bench bench;
  CHECK(bench.loops.changes[0].started.size() == 2);
  bench.put("a", "A\nAA");
  bench.reload();
  REQUIRE(bench.loops.changes.back().started.size() == 1);
  CHECK(bench.loops.changes.back().started[0] == &bench.module_of("A"));
}

TEST_CASE("the answer tells what became of the old code, and what may stay of the new") {
  Bench bench;
  bench.put("a", "A\nSTAY\nWARN it may stay in memory");
  CHECK(bench.reload() == "a reloaded 2, kv unchanged 1");
  CHECK(bench.note_of("a") == "it may stay in memory");
  bench.put("a", "A\nAA");
  CHECK(bench.reload() == "a reloaded 3, kv unchanged 1");
  CHECK(bench.note_of("a") == "generation 2 is still mapped: it said so");
  bench.put("a", "A\nSTAY\nREFUSE no");
  CHECK(bench.reload() == "a failed 3, kv unchanged 1");
  CHECK(bench.note_of("a") == "the refused file is still mapped: it said so");
}

TEST_CASE("what is not gone when the answer is due is unloaded later") {
  Bench bench;
  Module& old = bench.module_of("A");
  old.pin(0);
  bench.remove("a");
  CHECK(bench.reload() == "a removed 0, kv unchanged 1");
  CHECK(bench.note_of("a") == "generation 1 is still in use by 1 request");
  CHECK(bench.registry.still_draining() == std::vector<std::string>{"a generation 1"});
  CHECK(old.unpin(0));
  bench.registry.unload_drained(&old);
  CHECK(bench.loader.take_events() == "unload a 1, close a 1");
  CHECK(bench.registry.still_draining().empty());
}
