// INFO's total_commands_processed over real sockets: each request counts once, however often it is
// put back and matched again.
#include <doctest/doctest.h>

#include <algorithm>
#include <future>
#include <string>
#include <vector>

#include "eventually.h"
#include "running_server.h"
#include "shelf.h"

using namespace hrmr;
using namespace hrmr::test;
using modules::ReloadPolicy;
using modules::RouteFraming;

namespace {

int count_arguments(const hrmr_call* call, hrmr_reply* reply, void*) {
  return host().value_integer(reply, static_cast<int64_t>(call->count));
}

int ask_for_pool(const hrmr_request* request, hrmr_reply* reply, void*) {
  if (host().to_pool(reply) == HRMR_OK) return HRMR_OK;
  return say(request, reply, const_cast<char*>("moved "));
}

int say_much(const hrmr_request*, hrmr_reply* reply, void*) {
  return host().write(reply, bytes(std::string(2000, 'x') + "\n"));
}

// What INFO says, itself included.
int counted(const Running& running) {
  constexpr std::string_view kField = "total_commands_processed:";
  Client client = running.client();
  client.send("*2\r\n$4\r\nINFO\r\n$5\r\nstats\r\n");
  std::string line;
  while ((line = client.line()).substr(0, kField.size()) != kField) REQUIRE_FALSE(line.empty());
  return std::stoi(line.substr(kField.size()));
}

// Counts what others ask meanwhile.
struct Counting {
  explicit Counting(const Running& on) : running(on), before(counted(on)) {}
  int requests() { return counted(running) - before - ++looks; }

  const Running& running;
  const int before;
  int looks = 0;
};

// Of what is sent at once, once it is answered.
int requests_of(const Running& running, const std::string& sent) {
  Counting counting(running);
  Client client = running.client();
  client.send(sent);
  client.finish();
  (void)client.rest();
  return counting.requests();
}

std::vector<Spec> specs(Shelf& shelf) {
  return {kInline,
          kPooled,
          deferring("LATER", Run::kPool, shelf),
          deferring("ILATER", Run::kInline, shelf),
          {"MUCH", Run::kPool, say_much, nullptr},
          {"MOVE ", Run::kInline, ask_for_pool, nullptr},
          {"GET /in", Run::kInline, say, "got", RouteFraming::kHttp},
          {"GET /pool", Run::kPool, say, "got", RouteFraming::kHttp},
          command_spec("KV.IN", Run::kInline, count_arguments),
          command_spec("KV.POOL", Run::kPool, count_arguments)};
}

std::string http(const std::string& method, const std::string& target) {
  return method + " " + target + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
}

}  // namespace

TEST_CASE("every request counts once, whoever answers it") {
  Shelf shelf;
  const Running running(specs(shelf));
  CHECK(requests_of(running, "") == 0);
  CHECK(requests_of(running, "IN 1\n") == 1);
  CHECK(requests_of(running, "POOL 1\n") == 1);
  CHECK(requests_of(running, "nosuch\n") == 1);
  CHECK(requests_of(running, "KV.IN 1\nKV.POOL 1\n*1\r\n$5\r\nKV.IN\r\n*1\r\n$6\r\nnosuch\r\n") ==
        4);
  CHECK(requests_of(running, "POOL 1\nIN 1\nPOOL 2\nPOOL 3\nnosuch\nIN 2\n") == 6);
  CHECK(requests_of(running, http("GET", "/in") + http("GET", "/pool") + http("GET", "/none")) ==
        3);
  CHECK(requests_of(running, http("POST", "/call/KV.IN") + http("POST", "/call/KV.POOL") +
                                 http("POST", "/call/NONE")) == 3);
}

TEST_CASE("so do the server's own words, with and without their newline") {
  Shelf shelf;
  const Running running(specs(shelf));
  CHECK(requests_of(running, "RELOAD nobody\n") == 1);
  CHECK(requests_of(running, "POOL 1\nRELOAD nobody\nAUTH x\nCLOSE\n") == 4);
  CHECK(requests_of(running, "PING\nRELOAD nobody\nCLOSE\n") == 3);
  CHECK(requests_of(running, http("GET", "/pool") + http("POST", "/hrmr/reload")) == 2);
  Counting counting(running);
  Client client = running.client();
  client.send("CLOSE");
  CHECK(client.rest().empty());
  CHECK(counting.requests() == 1);
}

TEST_CASE("an inline request that goes on to the pool counts once") {
  Shelf shelf;
  const Running running(specs(shelf));
  CHECK(requests_of(running, "MOVE 1\n") == 1);
  CHECK(requests_of(running, "POOL 1\nMOVE 1\nMOVE 2\nIN 1\n") == 4);
}

TEST_CASE("requests that a batch leaves over count once") {
  Shelf shelf;
  server::Options options;
  options.output_bytes_max = 1000;
  const Running running(specs(shelf), options);
  SUBCASE("because their predecessors' replies are large") {
    CHECK(requests_of(running, "MUCH\nMUCH\nMUCH\nMUCH\nIN 1\nMUCH\nPOOL 1\n") == 7);
  }
  SUBCASE("because a reply is deferred") {
    for (const std::string later : {"LATER\n", "ILATER\n"}) {
      Counting counting(running);
      Client client = running.client();
      client.send("POOL 0\n" + later + "POOL 1\n" + later + "POOL 2\nIN 3\nPOOL 4\n");
      client.finish();
      shelf.answer("first\n");
      shelf.answer("second\n");
      CHECK(client.rest() == "pooled 0\nfirst\npooled 1\nsecond\npooled 2\ninline 3\npooled 4\n");
      CHECK(counting.requests() == 7);
    }
  }
}

TEST_CASE("requests that are held back count once, whether they are answered or wait in vain") {
  Shelf shelf;
  for (const uint64_t hold_timeout_ms : {60'000u, 50u}) {
    CAPTURE(hold_timeout_ms);
    server::Options options;
    options.registry.policy = ReloadPolicy::kHold;
    options.registry.hold_timeout_ms = hold_timeout_ms;
    Running running(specs(shelf), options);
    std::promise<void> entered;
    std::promise<void> opened;
    running.loader->hooks.load = [&](const std::string&) {
      entered.set_value();
      opened.get_future().wait();
      return Status::ok();
    };
    std::future<modules::ReloadReport> outcome = running.begin_reload();
    entered.get_future().wait();
    Counting counting(running);
    Client client = running.client();
    client.send("IN 1\nnosuch\nPOOL 2\nPOOL 3\nMOVE 4\n");
    client.finish();
    const bool is_in_vain = hold_timeout_ms == 50;
    if (!is_in_vain) CHECK(eventually([&] { return counting.requests() == 1; }));
    if (!is_in_vain) opened.set_value();
    const std::string answers = client.rest();
    CHECK(std::count(answers.begin(), answers.end(), '\n') == 5);
    CHECK(counting.requests() == 5);
    if (is_in_vain) opened.set_value();
    CHECK_FALSE(outcome.get().has_failures());
  }
}
