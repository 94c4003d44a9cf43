// Deferred replies across shutdowns and reloads, of compiled modules, and all at once.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <memory>
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

// Hooks of a module with a state.
ReloadHooks saving(std::function<std::string()> save = [] { return std::string(); }) {
  ReloadHooks hooks;
  hooks.save = std::move(save);
  return hooks;
}

// A large answer, and whether somebody has asked for it.
struct Much {
  std::string text;
  std::atomic<bool> has_begun{false};
  static int handle(const hrmr_request*, hrmr_reply* reply, void* context) {
    auto& much = *static_cast<Much*>(context);
    much.has_begun = true;
    return host().write(reply, bytes(much.text));
  }
};

}  // namespace

TEST_CASE("a shutdown waits for a deferred reply, and answers it") {
  for (const Run run : kRuns) {
    Shelf shelf;
    Running running({deferring("LATER", run, shelf)});
    Client client = running.client();
    client.send("LATER\n");
    hrmr_reply* reply = shelf.take();
    running.server->begin_shutdown();
    host().write(reply, HRMR_BYTES("in time\n"));
    host().complete(reply);
    CHECK(client.rest() == "in time\n");
    CHECK(running.server->stop());
  }
}

TEST_CASE("what outlives the drain timeout is completed or dropped in unload, without loops") {
  for (const Run run : kRuns) {
    Shelf shelf;
    server::Options options;
    options.drain_timeout_ms = 30;
    ReloadHooks hooks;
    hooks.unload = [&] {
      shelf.answer("too late\n");
      host().drop(shelf.take());
    };
    Running running({kPooled, deferring("LATER", run, shelf)}, options, hooks);
    Client first = running.client();
    Client second = running.client();
    first.send("LATER\nPOOL 1\n");
    second.send("LATER\n");
    CHECK(eventually([&] { return shelf.size() == 2; }));
    CHECK(running.server->stop());
    CHECK(running.loader->unloads == 1);
    CHECK(first.rest().empty());
    CHECK(second.rest().empty());
  }
}

TEST_CASE("a completion after the drain timeout, while the server still runs, is harmless") {
  for (const Run run : kRuns) {
    Shelf shelf;
    server::Options options;
    options.drain_timeout_ms = 30;
    Running running({deferring("LATER", run, shelf)}, options);
    Client client = running.client();
    client.send("LATER\n");
    hrmr_reply* reply = shelf.take();
    running.server->begin_shutdown();
    CHECK(client.rest().empty());
    host().complete(reply);
    CHECK(running.server->stop());
  }
}

TEST_CASE("a batch that comes back to a closed connection leaves it to the deferred reply") {
  Lingerer lingerer;
  server::Options options;
  options.drain_timeout_ms = 30;
  Running running({kPooled, {"LINGER", Run::kPool, Lingerer::handle, &lingerer}}, options);
  Client client = running.client();
  client.send("POOL 1\nLINGER\nPOOL 2\n");
  hrmr_reply* reply = lingerer.shelf.take();
  running.server->begin_shutdown();
  CHECK(client.rest().empty());
  lingerer.may_go = true;
  CHECK(eventually([&] { return running.server->pool(Run::kPool).busy() == 0; }));
  // Each loop takes part in a publication, and this one has the batch's letter in front of it.
  modules::Publication nothing;
  nothing.table = modules::RouteTable::build({});
  running.server->publish(nothing);
  host().complete(reply);
  CHECK(running.server->stop());
}

TEST_CASE("a replaced generation stays until its deferred reply has come, and is named meanwhile") {
  for (const Run run : kRuns) {
    Shelf shelf;
    server::Options options;
    options.loops = 2;
    options.registry.retire_timeout_ms = 30;
    Running running({kInline, kPooled, deferring("LATER", run, shelf)}, options);
    Client client = running.client();
    client.send("LATER\nPOOL 1\n");
    hrmr_reply* reply = shelf.take();
    running.loader->specs = {{"IN ", Run::kInline, say, "new "},
                             {"POOL ", Run::kPool, say, "newly pooled "}};
    const modules::ReloadReport report = running.reload();
    REQUIRE(report.outcomes.size() == 1);
    CHECK(report.outcomes[0].change == modules::Change::kReloaded);
    // Only by that: what is behind it in its batch has not begun and holds nothing.
    CHECK(contains(report.outcomes[0].note, "generation 1 is still in use by 1 deferred request"));
    Client other = running.client();
    CHECK(ask(other, "IN 1\n") == "new 1\n");
    CHECK(running.loader->unloads == 0);
    host().write(reply, HRMR_BYTES("old\n"));
    host().complete(reply);
    CHECK(client.line() == "old\n");
    CHECK(client.line() == "newly pooled 1\n");
    CHECK(eventually([&] { return running.loader->unloads == 1; }));
  }
}

TEST_CASE("what a batch leaves over keeps its order, wherever the table sends it by then") {
  Shelf shelf;
  server::Options options;
  options.registry.retire_timeout_ms = 30;
  Running running({kPooled, deferring("LATER", Run::kPool, shelf)}, options);
  Client client = running.client();
  client.send("LATER\nPOOL 1\nPOOL 2\nPOOL 3\nPOOL 4\nPOOL 5\nPOOL 6\nPOOL 7\nPOOL 8\n");
  hrmr_reply* reply = shelf.take();
  // Of those behind it 2 is deferred again, in a batch with 3; 4, 5 and 7 are inline now.
  Shelf later;
  running.loader->specs = {{"POOL ", Run::kPool, say, "newly pooled "},
                           deferring("POOL 2", Run::kPool, later),
                           {"POOL 4", Run::kInline, say, "inline 4"},
                           {"POOL 5", Run::kInline, say, "inline 5"},
                           {"POOL 7", Run::kInline, say, "inline 7"}};
  CHECK(running.reload().outcomes.size() == 1);
  host().write(reply, HRMR_BYTES("old\n"));
  host().complete(reply);
  CHECK(client.line() == "old\n");
  CHECK(client.line() == "newly pooled 1\n");
  later.answer("later\n");
  for (const char* answer : {"later\n", "newly pooled 3\n", "inline 4\n", "inline 5\n",
                             "newly pooled 6\n", "inline 7\n", "newly pooled 8\n"}) {
    CHECK(client.line() == answer);
  }
  client.finish();
  CHECK(client.rest().empty());
}

TEST_CASE("a client that does not read its answers keeps no module from being unloaded") {
  Much much{std::string(2 * limits::kOutputHighBytes, 'x')};
  server::Options options;
  options.registry.retire_timeout_ms = 5000;
  Running running({kPooled, {"MUCH", Run::kPool, Much::handle, &much}}, options);
  Client client = running.client();
  client.send("MUCH\nMUCH\nMUCH\nMUCH\nMUCH\nMUCH\nPOOL 1\nIN 1\nPOOL 2\n");
  CHECK(eventually([&] { return much.has_begun.load(); }));
  running.loader->specs = {kInline, {"POOL ", Run::kPool, say, "newly pooled "}};
  const modules::ReloadReport report = running.reload();
  REQUIRE(report.outcomes.size() == 1);
  CHECK(report.outcomes[0].note == "");
  CHECK(running.loader->unloads == 1);
  client.finish();
  std::string answers = client.rest();
  answers.erase(0, answers.find_first_not_of('x'));
  // The rest went to the table of its time, in its order.
  while (answers.starts_with("ERR no route for 'MUCH'\n")) answers.erase(0, 24);
  CHECK(answers == "newly pooled 1\ninline 1\nnewly pooled 2\n");
}

TEST_CASE("nor does one whose pipeline is as deep as it may be") {
  Much much{std::string(16 * limits::kOutputHighBytes, 'x')};
  server::Options options;
  options.registry.retire_timeout_ms = 5000;
  options.output_bytes_max = 4 * much.text.size();
  options.pipelined_requests_max = 3;
  Running running({kPooled, {"MUCH", Run::kInline, Much::handle, &much}}, options);
  Client client = running.client();
  client.send("MUCH\nPOOL 1\nPOOL 2\nPOOL 3\nPOOL 4\n");
  CHECK(eventually([&] { return much.has_begun.load(); }));
  const modules::ReloadReport report = running.reload();
  REQUIRE(report.outcomes.size() == 1);
  CHECK(report.outcomes[0].note == "");
  CHECK(client.line() == much.text + "pooled 1\n");
  for (const char* answer : {"pooled 2\n", "pooled 3\n", "pooled 4\n"}) {
    CHECK(client.line() == answer);
  }
}

TEST_CASE(
    "under hold a reload waits for deferred replies, fails in vain, and the old one serves on") {
  Shelf shelf;
  server::Options options;
  options.registry.hold_timeout_ms = 30;
  Running running({kInline, deferring("LATER", Run::kInline, shelf)}, options, saving());
  Client client = running.client();
  client.send("LATER\nIN 1\n");
  hrmr_reply* reply = shelf.take();
  const modules::ReloadReport report = running.reload();
  CHECK(
      message_of(report, "spec") ==
      "its state cannot be handed over: after 30 ms (hold_timeout) generation 1 is still in use by "
      "1 deferred request");
  Client other = running.client();
  CHECK(ask(other, "IN 2\n") == "inline 2\n");
  host().write(reply, HRMR_BYTES("old\n"));
  host().complete(reply);
  CHECK(client.line() == "old\n");
  CHECK(client.line() == "inline 1\n");
  CHECK(summary(running.reload()) == "spec reloaded 2");
}

TEST_CASE(
    "under hold a request that was held may defer, and a reply in time lets the reload pass") {
  Shelf shelf;
  std::unique_ptr<Client> held;
  const auto send_held = [&] {
    // The reply has come, or there would be no saving; this one waits for the new generation.
    if (held != nullptr) held->send("LATER\nIN 1\n");
    return std::string();
  };
  Running running({kInline, deferring("LATER", Run::kInline, shelf)}, {}, saving(send_held));
  Client client = running.client();
  held = std::make_unique<Client>(running.server->port());
  client.send("LATER\n");
  hrmr_reply* reply = shelf.take();
  std::thread reloading([&] { CHECK(summary(running.reload()) == "spec reloaded 2"); });
  host().write(reply, HRMR_BYTES("old\n"));
  host().complete(reply);
  CHECK(client.line() == "old\n");
  reloading.join();
  shelf.answer("new\n");
  CHECK(held->line() == "new\n");
  CHECK(held->line() == "inline 1\n");
}

namespace {

// A server on compiled modules.
struct Compiled {
  explicit Compiled(const std::string& name, server::Options options = {}) {
    write_file(folder / (name + ".so"), compiled(name + ".cpp"));
    options.registry.places = {folder.path()};
    server =
        std::make_unique<Server>(options, std::vector<std::unique_ptr<modules::Loader>>{}, nullptr);
    modules::ReloadReport loaded;
    REQUIRE(server->start(loaded).is_ok());
    REQUIRE_MESSAGE(summary(loaded) == name + " loaded 1", message_of(loaded, name));
  }
  ~Compiled() { CHECK(server->stop()); }

  TempFolder folder;
  std::unique_ptr<Server> server;
};

}  // namespace

TEST_CASE("module.hpp: a Deferred that goes without an answer drops the reply, however it goes") {
  server::Options options;
  options.drain_timeout_ms = 30;
  Compiled running("drops_reply", options);
  Client client(running.server->port());
  const std::string dropped = "ERR module 'drops_reply' dropped the request without an answer\n";
  client.send("FORGET\nFORGETPOOL\nTHROW\nASSIGN\nHOARD\n");
  for (int i = 0; i < 4; ++i) CHECK(client.line() == dropped);
  std::string log;
  CHECK(eventually([&] {
    log += take_log(running.server->log());
    return contains(log, "module.drops_reply: thrown behind a defer\n");
  }));
  // HOARD's is dropped in unload, after the drain timeout.
  CHECK(running.server->stop());
  log += take_log(running.server->log());
  CHECK(contains(log, "the deferred reply of the handler of 'HOARD' was dropped"));
  CHECK(client.rest().empty());
}

TEST_CASE("module.hpp: replies are completed by a thread of the module, and by its timers") {
  Compiled running("answers_later");
  Client client(running.server->port());
  client.send("LATER 1\nPOOLLATER 2\nTIMER 3\nPOOLTIMER 4\nONCE 5\n");
  CHECK(client.line() == "thread 1\n");
  CHECK(client.line() == "thread 2\n");
  CHECK(client.line() == "timer 3\n");
  CHECK(client.line() == "pool timer 4\n");
  CHECK(client.line() == "at once 5\n");
  CHECK(contains(take_log(running.server->log()), "module.answers_later: thrown by a timer\n"));
}

TEST_CASE("nothing is lost, torn or out of order while clients come and go and modules reload") {
  constexpr int kClients = 4;
  constexpr int kRounds = 60;
  constexpr int kReloads = 20;
  Shelf shelves[2];
  server::Options options;
  options.loops = 2;
  ReloadHooks hooks = saving();
  hooks.timers = {{10, Run::kInline, [](void*) {}, nullptr},
                  {10, Run::kPool, [](void*) {}, nullptr}};
  Running running({kInline,
                   kPooled,
                   {"NOW ", Run::kPool, complete_at_once, nullptr},
                   deferring("LATER", Run::kInline, shelves[0]),
                   deferring("POOLLATER", Run::kPool, shelves[1])},
                  options, hooks);
  std::atomic<bool> is_over{false};
  std::vector<std::thread> completers;
  for (int i = 0; i < 3; ++i) {
    completers.emplace_back([&, i] {
      for (Shelf* shelf = &shelves[i % 2];; shelf = &shelves[shelf == &shelves[0] ? 1 : 0]) {
        hrmr_reply* reply = shelf->take_if_any();
        if (reply == nullptr && is_over) return;
        if (reply == nullptr) {
          std::this_thread::yield();
          continue;
        }
        host().write(reply, HRMR_BYTES("later\n"));
        host().complete(reply);
      }
    });
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] {
      for (int round = 0; round < kRounds; ++round) {
        Client client = running.client();
        client.send("POOL 1\nLATER\nIN 2\nPOOLLATER\nNOW 3\nPOOLLATER\nPOOL 4\nLATER\n");
        if ((round + i) % 3 == 0) {
          client.reset();
          continue;
        }
        client.finish();
        const std::string expected =
            "pooled 1\nlater\ninline 2\nlater\n3 at once\nlater\npooled 4\nlater\n";
        if (client.rest() != expected) ++wrong;
      }
    });
  }
  for (int i = 0; i < kReloads; ++i) CHECK_FALSE(running.reload().has_failures());
  for (std::thread& client : clients) client.join();
  CHECK(wrong == 0);
  CHECK(eventually([&] { return running.loader->unloads == kReloads; }));
  CHECK(running.server->stop());  // waits for what the clients that went have left behind
  is_over = true;
  for (std::thread& completer : completers) completer.join();
}
