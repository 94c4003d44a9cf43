// Requests that are held back while their module is reloaded, over real sockets.
#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <string>
#include <vector>

#include "eventually.h"
#include "running_server.h"

using namespace hrmr;
using hrmr::modules::Change;
using hrmr::modules::ReloadPolicy;
using hrmr::modules::ReloadReport;
using hrmr::modules::Run;
using hrmr::test::Client;
using hrmr::test::eventually;
using hrmr::test::ReloadHooks;
using hrmr::test::Running;
using hrmr::test::say;
using hrmr::test::Spec;

namespace {

// A load that waits until the test opens it.
class Gate {
 public:
  void wait() {
    ++waiting_;
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [this] { return is_open_; });
  }
  bool has_somebody() const { return waiting_ != 0; }
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    opened_.notify_all();
  }

 private:
  std::atomic<int> waiting_{0};
  std::mutex mutex_;
  std::condition_variable opened_;
  bool is_open_ = false;
};

server::Options with_policy(ReloadPolicy policy, uint64_t hold_timeout_ms = 60'000) {
  server::Options options;
  options.registry.policy = policy;
  options.registry.hold_timeout_ms = hold_timeout_ms;
  return options;
}

std::vector<Spec> version(const char* text) {
  return {{"V", Run::kInline, say, text},
          {"P", Run::kPool, say, text},
          {"GET /v", Run::kInline, say, text, modules::RouteFraming::kHttp}};
}

// A server whose module is being reloaded from "old" to "new" and held open in its load.
struct Held {
  explicit Held(server::Options options) : running(version("old"), options) {
    running.loader->specs = version("new");
    running.loader->hooks.load = [this](const std::string&) {
      gate.wait();
      return refusal.empty() ? Status::ok() : Status::error(refusal);
    };
    outcome = running.begin_reload();
    REQUIRE(eventually([this] { return gate.has_somebody(); }));
  }
  ~Held() { gate.open(); }
  ReloadReport finish() {
    gate.open();
    return outcome.get();
  }

  Gate gate;
  std::string refusal;
  Running running;
  std::future<ReloadReport> outcome;
};

// One request that is answered shows that what was sent before it has been looked at.
void sync(const Held& held) {
  Client other = held.running.client();
  other.send("CLOSE\n");
  CHECK(other.rest() == "");
}

}  // namespace

TEST_CASE("under `hold` requests wait, in order, and the new generation answers them") {
  Held held(with_policy(ReloadPolicy::kHold));
  Client line = held.running.client();
  line.send("V1\nP2\nV3\nNONE\nP4\n");
  Client http = held.running.client();
  http.send("GET /v HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  sync(held);
  CHECK_FALSE(held.finish().has_failures());
  CHECK(line.line() == "new1\n");
  CHECK(line.line() == "new2\n");
  CHECK(line.line() == "new3\n");
  CHECK(line.line() == "ERR no route for 'NONE'\n");
  CHECK(line.line() == "new4\n");
  const std::string answer = http.rest();
  CHECK(answer.find("HTTP/1.1 200 OK\r\n") == 0);
  CHECK(answer.find("\r\n\r\nnew") != std::string::npos);
}

TEST_CASE("a load that is refused lets the held requests go on to the old generation") {
  Held held(with_policy(ReloadPolicy::kHold));
  held.refusal = "not today";
  Client client = held.running.client();
  client.send("V1\nP2\n");
  sync(held);
  CHECK(held.finish().has_failures());
  CHECK(client.line() == "old1\n");
  CHECK(client.line() == "old2\n");
}

TEST_CASE("what is held too long gets a 503, and its connection goes on") {
  Held held(with_policy(ReloadPolicy::kHold, 50));
  Client line = held.running.client();
  line.send("V1\nCLOSE\n");
  CHECK(line.rest() == "503 module 'spec' is being reloaded, try again\n");
  Client http = held.running.client();
  http.send("GET /v HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::string answer = http.rest();
  CHECK(answer.find("HTTP/1.1 503 Service Unavailable\r\n") == 0);
  CHECK(answer.find("\r\nRetry-After: 1\r\n") != std::string::npos);
  CHECK_FALSE(held.finish().has_failures());
  Client later = held.running.client();
  later.send("V2\n");
  CHECK(later.line() == "new2\n");
}

TEST_CASE("under `reject` they get it at once, under `swap` the old answer") {
  {
    Held held(with_policy(ReloadPolicy::kReject));
    Client client = held.running.client();
    client.send("V1\nP2\n");
    CHECK(client.line() == "503 module 'spec' is being reloaded, try again\n");
    CHECK(client.line() == "503 module 'spec' is being reloaded, try again\n");
    CHECK_FALSE(held.finish().has_failures());
  }
  Held held(with_policy(ReloadPolicy::kSwap));
  Client client = held.running.client();
  client.send("V1\nP2\n");
  CHECK(client.line() == "old1\n");
  CHECK(client.line() == "old2\n");
  CHECK_FALSE(held.finish().has_failures());
}

TEST_CASE("clients that leave while they are held do no harm") {
  Held held(with_policy(ReloadPolicy::kHold));
  for (int i = 0; i < 50; ++i) {
    Client client = held.running.client();
    client.send("V1\nP2\n");
    if (i % 2 == 0) client.finish();
  }
  Client staying = held.running.client();
  staying.send("V1\n");
  sync(held);
  CHECK_FALSE(held.finish().has_failures());
  CHECK(staying.line() == "new1\n");
}

TEST_CASE("a shutdown meanwhile answers what is held, once the load is done") {
  Held held(with_policy(ReloadPolicy::kHold));
  Client client = held.running.client();
  client.send("V1\n");
  sync(held);
  held.running.server->begin_shutdown();
  CHECK_FALSE(held.finish().has_failures());
  CHECK(client.rest() == "new1\n");
}

TEST_CASE("many held connections go on, each with its own answer") {
  server::Options options = with_policy(ReloadPolicy::kHold);
  options.loops = 3;
  Held held(options);
  std::vector<Client> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(held.running.client());
    clients.back().send((i % 2 == 0 ? "V" : "P") + std::to_string(i) + "\n");
  }
  sync(held);
  CHECK_FALSE(held.finish().has_failures());
  size_t wrong = 0;
  for (int i = 0; i < 300; ++i) {
    if (clients[static_cast<size_t>(i)].line() != "new" + std::to_string(i) + "\n") ++wrong;
  }
  CHECK(wrong == 0);
}

namespace {

// A count that lives in the module; save_state and load carry it over.
std::atomic<long> count{0};
int add_one(const hrmr_request*, hrmr_reply* reply, void*) {
  // Read and written apart: an increment between a save and the end of its generation would be
  // lost.
  const long next = count.load() + 1;
  count.store(next);
  return server::host_table().write(reply, test::bytes(std::to_string(next) + "\n"));
}

}  // namespace

TEST_CASE("a state that is handed over loses nothing that a client was told") {
  count = 0;
  ReloadHooks hooks;
  hooks.save = [] { return std::to_string(count.load()); };
  hooks.load = [](const std::string& previous) {
    // As a module does whose variables begin anew.
    count = previous.empty() ? 0 : std::stol(previous);
    return Status::ok();
  };
  server::Options options;
  Running running({{"ADD", Run::kInline, add_one, nullptr}}, options, hooks);
  std::atomic<bool> is_over{false};
  std::atomic<long> told{0};
  auto clients = std::async(std::launch::async, [&] {
    Client client = running.client();
    while (!is_over) {
      client.send("ADD\n");
      if (client.line() == std::to_string(told + 1) + "\n") ++told;
    }
  });
  for (int i = 0; i < 200; ++i) CHECK_FALSE(running.begin_reload().get().has_failures());
  CHECK(eventually([&] { return told > 0; }));
  is_over = true;
  clients.get();
  CHECK(told == count);
}
