#include "modules/registry.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "eventually.h"
#include "fake_loader.h"
#include "module_gallery.h"

using hrmr::modules::Module;
using hrmr::modules::RegistryOptions;
using hrmr::modules::ReloadPolicy;
using hrmr::modules::RouteMark;
using hrmr::test::contains;
using hrmr::test::FakeLoader;
using hrmr::test::message_of;
using Bench = hrmr::test::FakeModules;

TEST_CASE("publishes a table at the first reload, even without a module") {
  Bench bench;
  CHECK(bench.reload() == "");
  REQUIRE(bench.loops.table != nullptr);
  CHECK(bench.loops.table->size() == 0);
  CHECK(bench.reload() == "");
  CHECK(bench.loops.publications == 1);
}

TEST_CASE("loads what is new, reloads what changed, leaves the rest, removes what is gone") {
  Bench bench;
  bench.put("a", "A");
  bench.put("b", "B");
  bench.put("c", "C");
  CHECK(bench.reload() == "a loaded 1, b loaded 1, c loaded 1");
  CHECK(bench.loops.ask("B") == "B");
  bench.put("b", "B\nBB");
  bench.remove("c");
  bench.put("d", "D");
  CHECK(bench.reload() == "a unchanged 1, b reloaded 2, c removed 0, d loaded 1");
  CHECK(bench.report.outcomes[1].old_generation == 1);
  CHECK(bench.report.outcomes[2].old_generation == 1);
  CHECK_FALSE(bench.report.has_failures());
  CHECK(bench.loops.ask("BB") == "B\nBB");
  CHECK(bench.loops.ask("C") == "none");
  CHECK(bench.loader.take_events() == "unload b 1, unload c 1, close b 1, close c 1");
  CHECK(bench.reload() == "a unchanged 1, b unchanged 2, d unchanged 1");
  CHECK(bench.loops.publications == 2);
}

TEST_CASE("a new time without new content is no change") {
  Bench bench;
  bench.put("a", "A");
  bench.reload();
  bench.put("a", "A");
  CHECK(bench.reload() == "a unchanged 1");
  hrmr::test::replace_file(bench.folder / "a.fake", "A");
  CHECK(bench.reload() == "a unchanged 1");
  CHECK(bench.loader.requests.size() == 1);
}

TEST_CASE("sees a change that left size and time as they were") {
  Bench bench;
  const std::string path = bench.folder / "a.fake";
  bench.put("a", "A");
  const auto time = std::filesystem::last_write_time(path);
  bench.reload();
  bench.put("a", "B");
  std::filesystem::last_write_time(path, time);
  CHECK(bench.reload() == "a reloaded 2");
}

TEST_CASE("reads a file again while it is too young to trust its stamp, and then no more") {
  Bench bench;
  bench.put("a", "A");
  bench.reload();
  bench.reload();
  CHECK(bench.loader.comparisons == 1);
  CHECK(hrmr::test::eventually([&] {
    const int before = bench.loader.comparisons;
    bench.reload();
    return bench.loader.comparisons == before;
  }));
  CHECK(bench.loader.requests.size() == 1);
}

TEST_CASE("a failed load keeps the old generation, and is tried again") {
  Bench bench;
  bench.put("a", "A");
  bench.reload();
  bench.put("a", "FAIL a semicolon is missing");
  CHECK(bench.reload() == "a failed 1");
  CHECK(bench.report.has_failures());
  CHECK(message_of(bench.report, "a") == "a semicolon is missing");
  CHECK(bench.loops.ask("A") == "A");
  CHECK(bench.reload() == "a failed 1");
  CHECK(bench.loader.requests.size() == 3);
  bench.put("a", "THROW no memory");
  CHECK(bench.reload() == "a failed 1");
  CHECK(message_of(bench.report, "a") == "the loader failed: no memory");
  CHECK(bench.loops.publications == 1);
  bench.put("a", "A2");
  CHECK(bench.reload() == "a reloaded 2");
  CHECK(bench.loops.ask("A2") == "A2");
}

TEST_CASE("a file that went back to what serves is unchanged") {
  Bench bench;
  bench.put("a", "A");
  bench.reload();
  bench.put("a", "FAIL it does not compile");
  bench.reload();
  bench.put("a", "A");
  CHECK(bench.reload() == "a unchanged 1");
  CHECK(bench.reload() == "a unchanged 1");
  CHECK(bench.loader.requests.size() == 2);
}

TEST_CASE("no two attempts share a private path") {
  Bench bench;
  bench.put("a", "FAIL 1");
  bench.reload();
  bench.put("a", "FAIL 2");
  bench.reload();
  bench.put("a", "A");
  bench.reload();
  bench.put("a", "A2");
  bench.reload();
  std::vector<std::string> paths;
  std::vector<uint64_t> generations;
  for (const auto& request : bench.loader.requests) {
    paths.push_back(request.private_path);
    generations.push_back(request.generation);
  }
  CHECK(generations == std::vector<uint64_t>{1, 1, 1, 2});
  std::sort(paths.begin(), paths.end());
  CHECK(std::adjacent_find(paths.begin(), paths.end()) == paths.end());
}

TEST_CASE("generations count on over removal and restoration") {
  Bench bench;
  for (uint64_t round = 1; round <= 20; ++round) {
    const std::string generation = std::to_string(round);
    bench.put("a", "A");
    CHECK(bench.reload() == "a loaded " + generation);
    bench.unload_drained();
    bench.remove("a");
    CHECK(bench.reload() == "a removed 0");
    CHECK(bench.loops.ask("A") == "none");
    bench.unload_drained();
    CHECK(bench.loader.take_events() == "unload a " + generation + ", close a " + generation);
    CHECK(bench.reload() == "");
  }
}

TEST_CASE("removes and restores in every order") {
  std::vector<std::string> names = {"a", "b", "c"};
  std::vector<std::string> restored = names;
  Bench bench;
  for (const std::string& name : names) bench.put(name, name + "_PREFIX");
  bench.reload();
  do {
    restored = {"a", "b", "c"};
    do {
      for (const std::string& name : names) {
        bench.remove(name);
        CHECK(contains(bench.reload(), name + " removed 0"));
        CHECK(bench.loops.ask(name + "_PREFIX") == "none");
      }
      for (const std::string& name : restored) {
        bench.put(name, name + "_PREFIX");
        CHECK(contains(bench.reload(), name + " loaded "));
        CHECK(bench.loops.ask(name + "_PREFIX") == name + "_PREFIX");
      }
      bench.unload_drained();
      CHECK(bench.registry.still_draining().empty());
    } while (std::next_permutation(restored.begin(), restored.end()));
  } while (std::next_permutation(names.begin(), names.end()));
}

TEST_CASE("refuses a new module that wants a prefix of a loaded one") {
  Bench bench;
  bench.put("b", "PING");
  bench.reload();
  bench.put("a", "A\nPING");
  CHECK(bench.reload() == "a failed 0, b unchanged 1");
  CHECK(message_of(bench.report, "a") ==
        "prefix 'PING' of module a is already registered by module b generation 1");
  CHECK(bench.loader.take_events() == "unload a 1, close a 1");
  CHECK(bench.loops.ask("A") == "none");
  bench.remove("b");
  CHECK(bench.reload() == "a loaded 1, b removed 0");
  CHECK(bench.loops.ask("PING") == "A\nPING");
}

TEST_CASE("of two new modules with one prefix the first by name wins") {
  Bench bench;
  bench.put("b", "PING");
  bench.put("a", "PING");
  CHECK(bench.reload() == "a loaded 1, b failed 0");
  CHECK(contains(message_of(bench.report, "b"), "module b is already registered by module a"));
}

TEST_CASE("a changed module that wants a prefix of another keeps its old generation") {
  Bench bench;
  bench.put("a", "A");
  bench.put("b", "B");
  bench.reload();
  bench.put("a", "A\nB");
  CHECK(bench.reload() == "a failed 1, b unchanged 1");
  CHECK(bench.loops.ask("A") == "A");
  CHECK(bench.loops.ask("B") == "B");
}

TEST_CASE("two modules swap their prefixes in one reload") {
  Bench bench;
  bench.put("a", "ONE");
  bench.put("b", "TWO");
  bench.reload();
  bench.put("a", "TWO");
  bench.put("b", "ONE");
  CHECK(bench.reload() == "a reloaded 2, b reloaded 2");
  CHECK(bench.loops.match("ONE").route->module->name() == "b");
  CHECK(bench.loops.match("TWO").route->module->name() == "a");
}

TEST_CASE("when half of a swap fails, the other half falls back too") {
  Bench bench;
  bench.put("a", "ONE");
  bench.put("b", "TWO");
  bench.reload();
  bench.put("a", "FAIL halfway");
  bench.put("b", "ONE");
  CHECK(bench.reload() == "a failed 1, b failed 1");
  CHECK(contains(message_of(bench.report, "b"), "prefix 'ONE' of module b is already"));
  CHECK(bench.loops.match("ONE").route->module->name() == "a");
  CHECK(bench.loops.match("TWO").route->module->name() == "b");
}

TEST_CASE("a fall-back to an old generation is a conflict for those that counted on its change") {
  Bench bench;
  bench.put("a", "ONE");
  bench.put("b", "TWO");
  bench.put("z", "THREE");
  bench.reload();
  // b moves away from TWO, which a takes; but b's new prefix belongs to z, so both fall back.
  bench.put("a", "TWO");
  bench.put("b", "THREE");
  CHECK(bench.reload() == "a failed 1, b failed 1, z unchanged 1");
  CHECK(bench.loops.match("ONE").route->module->name() == "a");
  CHECK(bench.loops.match("TWO").route->module->name() == "b");
}

TEST_CASE("takes over the prefix of a module that goes in the same reload") {
  Bench bench;
  bench.put("a", "ONE");
  bench.reload();
  bench.remove("a");
  bench.put("b", "ONE");
  CHECK(bench.reload() == "a removed 0, b loaded 1");
  CHECK(bench.loops.match("ONE").route->module->name() == "b");
}

TEST_CASE("line and http share a prefix, raw shares with none") {
  Bench bench;
  bench.put("a", "PING");
  bench.put("b", "http:PING");
  bench.put("c", "raw:PING");
  CHECK(bench.reload() == "a loaded 1, b loaded 1, c failed 0");
}

TEST_CASE("refuses routes that a loader should have refused") {
  Bench bench;
  bench.put("a", "SAME\nSAME");
  bench.put("b", "reload");
  CHECK(bench.reload() == "a failed 0, b failed 0");
  CHECK(contains(message_of(bench.report, "a"), "'SAME' is registered twice"));
  CHECK(contains(message_of(bench.report, "b"), "belongs to HRMR itself"));
  CHECK(bench.loader.take_events() == "unload a 1, close a 1, unload b 1, close b 1");
}

TEST_CASE("reloads only what was asked for") {
  Bench bench;
  bench.put("a", "A");
  bench.put("b", "B");
  CHECK(bench.reload({"b"}) == "b loaded 1");
  CHECK(bench.loops.ask("A") == "none");
  bench.put("b", "B2");
  CHECK(bench.reload({"a"}) == "a loaded 1");
  CHECK(bench.loops.ask("B") == "B");
  CHECK(bench.reload({"b", "a", "b"}) == "a unchanged 1, b reloaded 2");
  bench.remove("a");
  CHECK(bench.reload({"b"}) == "b unchanged 2");
  CHECK(bench.loops.ask("A") == "A");
  CHECK(bench.reload({"a", "nobody"}) == "a removed 0, nobody failed 0");
  CHECK(contains(message_of(bench.report, "nobody"), "no module of that name is loaded"));
  CHECK(contains(message_of(bench.report, "nobody"), bench.folder.path()));
}

TEST_CASE("policy reject marks what is about to change, for as long as it loads") {
  RegistryOptions options;
  options.policies["a"] = ReloadPolicy::kReject;
  Bench bench(options);
  bench.put("a", "A");
  bench.put("b", "B");
  bench.reload();
  CHECK(bench.loops.publications == 1);
  std::string seen;
  bench.loader.during_load = [&](const std::string& name) {
    seen += name + (bench.loops.match("A").mark == RouteMark::kReject ? ":a rejects" : ":a serves");
    seen += bench.loops.match("B").mark == RouteMark::kReject ? ",b rejects " : ",b serves ";
  };
  bench.put("a", "A\nA2");
  bench.put("b", "B\nB2");
  CHECK(bench.reload() == "a reloaded 2, b reloaded 2");
  CHECK(seen == "b:a rejects,b serves a:a rejects,b serves ");
  CHECK(bench.loops.publications == 4);
  CHECK(bench.loops.match("A").mark == RouteMark::kNone);
  bench.put("a", "FAIL it");
  CHECK(bench.reload() == "a failed 2, b unchanged 2");
  CHECK(bench.loops.publications == 6);
  CHECK(bench.loops.match("A").mark == RouteMark::kNone);
}

TEST_CASE("policy reject leaves alone what does not change") {
  RegistryOptions options;
  options.policy = ReloadPolicy::kReject;
  options.policies["b"] = ReloadPolicy::kSwap;
  Bench bench(options);
  bench.put("a", "A");
  bench.put("b", "B");
  bench.reload();
  bench.put("b", "B\nB2");
  bench.reload();
  CHECK(bench.loops.publications == 2);
}

TEST_CASE("a module without a file is loaded, and again when its revision changes") {
  Bench bench;
  FakeLoader app("");
  app.text = "APP";
  bench.put("a", "A");
  bench.registry.set_inline_module("app", app, 1);
  CHECK(bench.reload() == "a loaded 1, app loaded 1");
  CHECK(bench.reload() == "a unchanged 1, app unchanged 1");
  app.text = "APP2";
  bench.registry.set_inline_module("app", app, 2);
  CHECK(bench.reload({"app"}) == "app reloaded 2");
  CHECK(bench.loops.ask("APP2") == "APP2");
  app.text = "A";
  bench.registry.set_inline_module("app", app, 3);
  CHECK(bench.reload({"app"}) == "app failed 2");
  CHECK(bench.reload({"app"}) == "app failed 2");
  bench.unload_drained();
  bench.registry.unload_all();  // `app` ends before the bench
}

TEST_CASE("a pinned generation is unloaded after its last request, on whichever loop that ends") {
  Bench bench({}, 3);
  bench.put("a", "A");
  bench.reload();
  Module* const first = bench.loops.match("A").route->module;
  first->pin(0);
  first->pin(2);
  first->pin(2);
  bench.put("a", "A\nA2");
  CHECK(bench.reload() == "a reloaded 2");
  CHECK(bench.loops.drained.empty());
  CHECK(bench.registry.still_draining() == std::vector<std::string>{"a generation 1"});
  CHECK_FALSE(first->unpin(2));
  CHECK_FALSE(first->unpin(0));
  CHECK(bench.loader.take_events() == "");
  CHECK(first->unpin(2));
  bench.registry.unload_drained(first);
  CHECK(bench.loader.take_events() == "unload a 1, close a 1");
  CHECK(bench.registry.still_draining().empty());
}

TEST_CASE("generations behind a request that does not end are bounded") {
  Bench bench;
  std::vector<Module*> stuck;
  for (int version = 0;; ++version) {
    REQUIRE(version < 1000);
    bench.put("a", "A\n" + std::to_string(version));
    bench.reload();
    if (bench.report.has_failures()) break;
    stuck.push_back(bench.loops.match("A").route->module);
    stuck.back()->pin(0);
  }
  CHECK(stuck.size() == hrmr::limits::kDrainingGenerationsMax + 1);
  CHECK(contains(message_of(bench.report, "a"), "still wait for requests that do not end"));
  REQUIRE(stuck.front()->unpin(0));
  bench.registry.unload_drained(stuck.front());
  bench.reload();
  CHECK_FALSE(bench.report.has_failures());
}

TEST_CASE("unload_all unloads what serves and what still drains") {
  Bench bench;
  bench.put("a", "A");
  bench.put("b", "B");
  bench.reload();
  bench.loops.match("A").route->module->pin(0);
  bench.put("a", "A2");
  bench.reload();
  bench.registry.unload_all();
  CHECK(bench.loader.take_events() ==
        "unload a 1, unload a 2, unload b 1, close a 1, close a 2, close b 1");
  CHECK(bench.registry.loaded().empty());
}

TEST_CASE("says in the log what was unloaded, and what stayed") {
  Bench bench;
  bench.put("a", "A");
  bench.put("b", "B\nSTAY");
  bench.reload();
  bench.remove("a");
  bench.remove("b");
  bench.reload();
  bench.unload_drained();
  const std::string log = hrmr::test::take_log(bench.log);
  CHECK(contains(log, "reload: unloaded a generation 1\n"));
  CHECK(contains(log, "reload: unloaded b generation 1, but it is still mapped: it said so\n"));
}

TEST_CASE("lists what serves") {
  Bench bench;
  bench.put("b", "B\nBB");
  bench.put("a", "A");
  bench.reload();
  const auto loaded = bench.registry.loaded();
  REQUIRE(loaded.size() == 2);
  CHECK(loaded[1].name == "b");
  CHECK(loaded[1].version == "0");
  CHECK(loaded[1].generation == 1);
  CHECK(loaded[1].routes == 2);
}

TEST_CASE("its private folder goes with it") {
  std::string folder;
  {
    Bench bench;
    bench.put("a", "A");
    bench.reload();
    folder = std::filesystem::path(bench.loader.requests[0].private_path).parent_path();
    struct stat status {};
    REQUIRE(::stat(folder.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0700);
  }
  CHECK_FALSE(std::filesystem::exists(folder));
}
