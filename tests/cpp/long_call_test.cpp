// A module's load, save_state or unload that does not end is named in the log.
#include <doctest/doctest.h>

#include <future>
#include <string>

#include "eventually.h"
#include "running_server.h"

using namespace hrmr;
using hrmr::modules::ReloadReport;
using hrmr::modules::Run;
using hrmr::test::eventually;
using hrmr::test::ReloadHooks;
using hrmr::test::Running;
using hrmr::test::say;
using hrmr::test::Spec;

namespace {

const Spec kSpec{"V", Run::kInline, say, "1"};

server::Options impatient(uint64_t long_call_ms, uint64_t again_ms) {
  server::Options options;
  options.long_call_ms = long_call_ms;
  options.long_call_again_ms = again_ms;
  return options;
}

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

// A server whose module waits in one of its functions until `door` is opened.
struct Stuck {
  std::promise<void> door;
  std::shared_future<void> opened{door.get_future()};

  // Reloads, waits until the log names the function twice, lets it end.
  void check(Running& running, const std::string& function) {
    std::future<ReloadReport> reloading = running.begin_reload();
    const std::string warning = "reload: " + function + " has not ended for ";
    std::string log;
    CHECK(eventually([&] { return count_of(log += running.take_log(), warning) >= 2; }));
    CHECK(log.find(" s; until it does no module is reloaded, and RELOAD waits\n") !=
          std::string::npos);
    CHECK(log.find("has ended") == std::string::npos);
    door.set_value();
    CHECK_FALSE(reloading.get().has_failures());
    log += running.take_log();
    CHECK(count_of(log, "reload: " + function + " has ended after ") == 1);
  }
};

}  // namespace

TEST_CASE("a load that does not end is named, and again") {
  Stuck stuck;
  Running running({kSpec}, impatient(20, 20));
  running.loader->hooks.load = [&](const std::string&) {
    stuck.opened.wait();
    return Status::ok();
  };
  stuck.check(running, "load of spec generation 2");
}

TEST_CASE("what runs by itself when a module is opened counts as its load") {
  Stuck stuck;
  Running running({kSpec}, impatient(20, 20));
  running.loader->hooks.open = [&] { stuck.opened.wait(); };
  stuck.check(running, "load of spec generation 2");
}

TEST_CASE("a save_state that does not end is named, and again") {
  Stuck stuck;
  ReloadHooks hooks;
  hooks.save = [&] {
    stuck.opened.wait();
    return std::string("state");
  };
  Running running({kSpec}, impatient(20, 20), hooks);
  stuck.check(running, "save_state of spec generation 1");
}

TEST_CASE("an unload that does not end is named, and again") {
  Stuck stuck;
  ReloadHooks hooks;
  hooks.unload = [&] { stuck.opened.wait(); };
  Running running({kSpec}, impatient(20, 20), hooks);
  stuck.check(running, "unload of spec generation 1");
}

TEST_CASE("a call that ends in time is not named") {
  Running running({kSpec}, impatient(60'000, 60'000));
  running.reload({kSpec});
  const std::string log = running.take_log();
  CHECK(log.find("unloaded spec generation 1") != std::string::npos);
  CHECK(log.find("ended") == std::string::npos);
}
