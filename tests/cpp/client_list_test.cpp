// CLIENT LIST with several loops: what each of them has, also while one is stuck, connections go or
// the server shuts down.
#include "server/client_list.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "eventually.h"
#include "module_gallery.h"
#include "running_server.h"
#include "server/shard.h"
#include "shelf.h"

using namespace hrmr;
using namespace hrmr::test;

namespace {

// Says which thread answers.
int say_where(const hrmr_request*, hrmr_reply* reply, void*) {
  const auto thread = std::hash<std::thread::id>()(std::this_thread::get_id());
  return host().write(reply, bytes(std::to_string(thread) + "\n"));
}

// An inline handler that blocks its loop until it may go.
struct Blocker {
  ~Blocker() { may_go = true; }
  static int handle(const hrmr_request*, hrmr_reply* reply, void* context) {
    auto& blocker = *static_cast<Blocker*>(context);
    blocker.is_in = true;
    CHECK(eventually([&] { return blocker.may_go.load(); }));
    return host().write(reply, HRMR_BYTES("through\n"));
  }
  std::atomic<bool> is_in{false};
  std::atomic<bool> may_go{false};
};

// The text that comes next, which is a bulk string or a verbatim one. "": something else came.
// `head`: its first line, when it is read already.
std::string read_text(Client& client, std::string head = "") {
  if (head.empty()) head = client.line();
  if (head.empty() || (head[0] != '$' && head[0] != '=')) return "";
  const size_t size = std::stoul(head.substr(1));
  std::string text;
  while (text.size() < size + 2) {
    const std::string more = client.line();
    if (more.empty()) return "";
    text += more;
  }
  text.resize(size);
  return text;
}

std::string list_of(Client& client, const std::string& words = "") {
  client.send("CLIENT LIST" + words + "\n");
  return read_text(client);
}

using Ids = std::vector<uint64_t>;

Ids ids_in(const std::string& list) {
  Ids ids;
  for (size_t at = 0; at < list.size(); at = list.find('\n', at) + 1) {
    CHECK(list.compare(at, 3, "id=") == 0);
    ids.push_back(std::stoull(list.substr(at + 3)));
  }
  return ids;
}

struct Member {
  Client client;
  uint64_t id;
  std::string loop;
};

server::Options with_loops(unsigned loops = 3) {
  server::Options options;
  options.loops = loops;
  return options;
}

// A server with three loops, and clients: at least three on each.
struct Crowd {
  explicit Crowd(server::Options options = with_loops()) : running(specs(), options) {
    std::multiset<std::string> loops;
    std::set<std::string> known;
    const auto is_enough = [&] {
      return known.size() == options.loops &&
             std::all_of(known.begin(), known.end(),
                         [&](const std::string& loop) { return loops.count(loop) >= 3; });
    };
    while (!is_enough()) {
      REQUIRE(members.size() < 500);
      members.push_back({running.client(), 0, ""});
      Member& added = members.back();
      added.loop = ask(added.client, "WHERE\n");
      added.id = std::stoull(ask(added.client, "CLIENT ID\n").substr(1));
      loops.insert(added.loop);
      known.insert(added.loop);
    }
  }

  std::vector<Spec> specs() {
    return {kInline,
            kPooled,
            {"WHERE", Run::kInline, say_where, nullptr},
            {"BLOCK", Run::kInline, Blocker::handle, &blocker}};
  }
  // Of those that `is_wanted`; all there are without it.
  Ids ids(const std::function<bool(const Member&)>& is_wanted = {}) const {
    Ids found;
    for (const Member& each : members) {
      if (!is_wanted || is_wanted(each)) found.push_back(each.id);
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  Ids ids_besides(const std::string& loop) const {
    return ids([&](const Member& each) { return each.loop != loop; });
  }
  // Blocks the loop of the first member. Returns one that is on another loop.
  Member& block() {
    members[0].client.send("BLOCK\n");
    REQUIRE(eventually([&] { return blocker.is_in.load(); }));
    return *std::find_if(members.begin(), members.end(),
                         [&](const Member& each) { return each.loop != members[0].loop; });
  }
  void unblock() {
    blocker.may_go = true;
    CHECK(members[0].client.line() == "through\n");
  }

  Blocker blocker;
  Running running;
  std::vector<Member> members;
};

}  // namespace

TEST_CASE("CLIENT LIST shows the connections of all loops to each of them, by ascending id") {
  Crowd crowd;
  for (Member& each : crowd.members) {
    const std::string name = "m" + std::to_string(each.id);
    CHECK(ask(each.client, "CLIENT SETNAME " + name + "\n") == "+OK\r\n");
  }
  for (Member& each : crowd.members) {
    const std::string list = list_of(each.client);
    CHECK(ids_in(list) == crowd.ids());
    for (const uint64_t id : crowd.ids()) {
      CAPTURE(id);
      CHECK(contains(list, " name=m" + std::to_string(id) + " age="));
    }
    CHECK(ids_in(list_of(each.client, " TYPE normal")) == crowd.ids());
    CHECK(list_of(each.client, " TYPE pubsub").empty());
  }
}

TEST_CASE("CLIENT LIST ID finds connections of any loop, each once") {
  Crowd crowd;
  const Ids all = crowd.ids();
  std::string words = " ID 0 -1 999999";
  for (const uint64_t id : all) {
    words = " ID " + std::to_string(id) + words.substr(3) + " " + std::to_string(id);
  }
  CHECK(ids_in(list_of(crowd.members[0].client, words)) == all);
  for (Member& each : crowd.members) {
    CHECK(ids_in(list_of(crowd.members[0].client, " ID " + std::to_string(each.id))) ==
          Ids{each.id});
  }
}

TEST_CASE("CLIENT INFO is of the connection itself, whatever its loop") {
  Crowd crowd;
  for (Member& each : crowd.members) {
    each.client.send("CLIENT INFO\n");
    CHECK(ids_in(read_text(each.client)) == Ids{each.id});
  }
}

TEST_CASE("a list keeps its place between requests") {
  Crowd crowd;
  for (Member& each : crowd.members) {
    Client& client = each.client;
    client.send(
        "IN 1\nCLIENT LIST\nIN 2\nPOOL 3\nCLIENT LIST\nPOOL 4\nPOOL 5\nCLIENT LIST\nCLIENT LIST\n"
        "PING\n");
    CHECK(client.line() == "inline 1\n");
    CHECK(ids_in(read_text(client)) == crowd.ids());
    CHECK(client.line() == "inline 2\n");
    CHECK(client.line() == "pooled 3\n");
    CHECK(ids_in(read_text(client)) == crowd.ids());
    CHECK(client.line() == "pooled 4\n");
    CHECK(client.line() == "pooled 5\n");
    CHECK(ids_in(read_text(client)) == crowd.ids());
    CHECK(ids_in(read_text(client)) == crowd.ids());
    CHECK(client.line() == "+PONG\r\n");
  }
}

TEST_CASE("a list is silent where CLIENT REPLY says so") {
  Crowd crowd;
  for (Member& each : crowd.members) {
    Client& client = each.client;
    client.send("CLIENT REPLY SKIP\nCLIENT LIST\nPING one\n");
    CHECK(read_text(client) == "one");
    client.send("CLIENT REPLY OFF\nCLIENT LIST\nPING two\nCLIENT LIST\nCLIENT REPLY ON\n");
    CHECK(client.line() == "+OK\r\n");
    CHECK(ids_in(list_of(client)) == crowd.ids());
  }
}

TEST_CASE("a list is a verbatim string to RESP3") {
  Crowd crowd;
  Client& client = crowd.members[0].client;
  client.send("HELLO 3\nCLIENT LIST\nHELLO 2\n");
  std::string head;
  do {
    head = client.line();
  } while (!head.empty() && head[0] != '=');  // the answer to HELLO
  const std::string list = read_text(client, head);
  CHECK(list.substr(0, 4) == "txt:");
  CHECK(ids_in(list.substr(4)) == crowd.ids());
  CHECK(contains(list, " resp=3 "));
}

TEST_CASE("a loop that is stuck is left out after a while, and the log names it") {
  Crowd crowd;
  Member& asking = crowd.block();
  const Ids others = crowd.ids_besides(crowd.members[0].loop);
  asking.client.send("CLIENT LIST\nPING\nCLIENT LIST\n");
  CHECK(ids_in(read_text(asking.client)) == others);
  CHECK(asking.client.line() == "+PONG\r\n");
  CHECK(ids_in(read_text(asking.client)) == others);
  const std::string log = crowd.running.take_log();
  CHECK(contains(log, "server: CLIENT LIST leaves out the connections of stuck loops ("));
  CHECK(log.find("CLIENT LIST") == log.rfind("CLIENT LIST"));  // not for each list
  crowd.unblock();
  for (Member& each : crowd.members) CHECK(ids_in(list_of(each.client)) == crowd.ids());
}

TEST_CASE("while a list is under way its loop serves others") {
  Crowd crowd;
  Member& asking = crowd.block();
  asking.client.send("CLIENT LIST\n");
  for (Member& each : crowd.members) {
    if (&each == &asking || each.loop == crowd.members[0].loop) continue;
    CHECK(ask(each.client, "PING\n") == "+PONG\r\n");
  }
  crowd.unblock();
  const Ids found = ids_in(read_text(asking.client));
  CHECK((found == crowd.ids() || found == crowd.ids_besides(crowd.members[0].loop)));
}

TEST_CASE("a peer that goes while its list is under way is cleaned up") {
  Crowd crowd;
  Member& asking = crowd.block();
  const size_t before = crowd.running.server->server_facts().connections;
  asking.client.send("CLIENT LIST\nCLIENT LIST\n");
  asking.client.reset();
  CHECK(eventually([&] { return crowd.running.server->server_facts().connections == before - 1; }));
  crowd.unblock();
  const uint64_t gone = asking.id;
  CHECK(ids_in(list_of(crowd.members[0].client)) ==
        crowd.ids([&](const Member& each) { return each.id != gone; }));
}

TEST_CASE("a shutdown answers the list that is under way") {
  Crowd crowd;
  Member& asking = crowd.block();
  asking.client.send("CLIENT LIST\n");
  // Behind it, so it has been read: both are on one loop.
  for (Member& each : crowd.members) {
    if (each.loop == asking.loop && &each != &asking) ask(each.client, "PING\n");
  }
  const Ids others = crowd.ids_besides(crowd.members[0].loop);
  crowd.running.server->begin_shutdown();
  const Ids found = ids_in(read_text(asking.client));
  CHECK(std::includes(others.begin(), others.end(), found.begin(), found.end()));
  CHECK(std::count(found.begin(), found.end(), asking.id) == 1);
  CHECK(asking.client.rest().empty());
  crowd.blocker.may_go = true;
  CHECK(crowd.running.server->stop());
}

TEST_CASE("a list that outlives the drain timeout is dropped with its connection") {
  server::Options options = with_loops();
  options.drain_timeout_ms = 20;
  Crowd crowd(options);
  Member& asking = crowd.block();
  asking.client.send("CLIENT LIST\n");
  for (Member& each : crowd.members) {
    if (each.loop == asking.loop && &each != &asking) ask(each.client, "PING\n");
  }
  crowd.running.server->begin_shutdown();
  CHECK(asking.client.rest().empty());
  CHECK_FALSE(crowd.running.server->stop());  // the handler
  crowd.blocker.may_go = true;
  CHECK(crowd.running.server->stop());
}

TEST_CASE("lists of all loops at once, while connections come and go") {
  Crowd crowd;
  std::atomic<bool> is_over{false};
  std::thread visitors([&] {
    while (!is_over) {
      Client visitor = crowd.running.client();
      visitor.send("CLIENT SETNAME visitor\nCLIENT LIST\n");
      visitor.line();
    }
  });
  const Ids members = crowd.ids();
  for (int round = 0; round < 20; ++round) {
    for (Member& each : crowd.members) each.client.send("CLIENT LIST\nCLIENT LIST ID 1\n");
    for (Member& each : crowd.members) {
      const Ids found = ids_in(read_text(each.client));
      CHECK(std::is_sorted(found.begin(), found.end()));
      CHECK(std::includes(found.begin(), found.end(), members.begin(), members.end()));
      CHECK(ids_in(read_text(each.client)) == Ids{1});
    }
  }
  is_over = true;
  visitors.join();
}

// ------------------------------------------------------------------------------- without sockets

namespace {

struct StreamBench final : server::StreamOwner, server::ShardOwner {
  void on_batch_done(server::Batch&) override {}
  void on_deferred_done(std::unique_ptr<server::Deferred>) override {}
  void on_piece(server::Piece&) override {}
  void on_command_done(std::string_view) override { ++answers; }
  void on_hold_over(bool) override {}

  void reload(std::vector<std::string>, std::function<void(std::string)>) override {}
  void begin_shutdown() override {}
  work::WorkerPool& pool(Run) override { return unused_pool; }
  void let_go(modules::Module*) override {}
  void drained(modules::Module*) override {}
  Log& log() override { return own_log; }
  std::span<const std::unique_ptr<server::Shard>> shards() override { return loops; }
  server::Place take_place(const net::Peer&) override { return server::Place::kServerFull; }
  void give_place(const net::Peer&) override {}
  void on_drained() override {}

  server::Options options;
  Log own_log;
  work::WorkerPool unused_pool{work::PoolOptions{"unused", 1, 2}, std::make_unique<work::Crew>()};
  std::vector<std::unique_ptr<server::Shard>> loops;
  int answers = 0;
};

}  // namespace

// Of a server that has stopped: the letter lies with the other loop, or with our own. The
// sanitizers see whether the list is freed, and once.
TEST_CASE("a list whose letters are not delivered ends with its loops") {
  for (const bool has_been_there : {false, true}) {
    StreamBench bench;
    server::Stream stream;
    stream.owner = &bench;
    for (unsigned i = 0; i < 2; ++i) {
      bench.loops.push_back(
          std::make_unique<server::Shard>(i, bench.options, bench, bench.own_log));
    }
    stream.input.append("CLIENT LIST\n");
    CHECK(bench.loops[0]->dispatcher().next(stream) == server::Step::kAway);
    CHECK(stream.is_away);
    if (has_been_there) {
      CHECK(bench.loops[1]->start().is_ok());
      bench.loops[1]->stop();
    }
    bench.loops.clear();
    CHECK(bench.answers == 0);
    CHECK(stream.output.is_empty());
  }
}

TEST_CASE("a list that no reply can hold is an error") {
  server::Stream first;
  first.session.id = 7;
  server::Stream second;
  second.session.id = 3;
  const auto written = [&](size_t bytes_max, int copies) {
    server::ClientLines lines(bytes_max);
    server::ClientLines others(bytes_max);
    for (int i = 0; i < copies; ++i) lines.add(first, 0);
    others.add(second, 0);
    lines.take_all(others);
    Output out;
    wire::ReplyFacts facts;
    facts.form = wire::ValueForm::kResp2;
    facts.bytes_max = bytes_max;
    wire::ReplyWriter reply(out, facts);
    lines.write(reply, facts.form);
    reply.finish();
    return std::string(out.view());
  };
  const std::string both = written(4096, 1);
  CHECK(contains(both, "\r\nid=3 addr="));
  CHECK(contains(both, "\nid=7 addr="));
  const std::string refusal = "-ERR the list is larger than a reply may be\r\n";
  CHECK(written(4096, 100) == refusal);
  // At every bound: all of it, or the error.
  for (size_t bytes_max = 64; bytes_max < both.size() + 64; ++bytes_max) {
    const std::string answer = written(bytes_max, 1);
    CHECK((answer == both || answer == refusal));
  }
}
