// hrmr_host::to_pool over real sockets: an inline handler that asks to be called on the pool.
#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>

#include "running_server.h"

using namespace hrmr;
using namespace hrmr::test;
using modules::RouteFraming;

namespace {

struct Seen {
  std::atomic<int> calls{0};
  std::atomic<int> on_loop{0};
};

// Lines that end in an even digit are answered at once, the others on the pool.
int answer_odd_on_pool(const hrmr_request* request, hrmr_reply* reply, void* context) {
  const hrmr_host& host = server::host_table();
  auto& seen = *static_cast<Seen*>(context);
  ++seen.calls;
  const std::string_view rest(request->rest.data, request->rest.size);
  const bool is_even = !rest.empty() && (rest.back() - '0') % 2 == 0;
  if (is_even) return say(request, reply, const_cast<char*>("at once "));
  host.write(reply, HRMR_BYTES("half an answer"));
  if (host.to_pool(reply) == HRMR_OK) {
    ++seen.on_loop;
    const bool is_taken = host.write(reply, HRMR_BYTES("lost")) == HRMR_OK ||
                          host.defer(reply) != nullptr || host.to_pool(reply) == HRMR_OK;
    return is_taken ? HRMR_OK : HRMR_FAILED;  // what it returns does not matter
  }
  host.write(reply, HRMR_BYTES(" on the pool "));
  host.write(reply, request->rest);
  return host.write(reply, HRMR_BYTES("\n"));
}

int throw_behind_to_pool(const hrmr_request* request, hrmr_reply* reply, void*) {
  if (server::host_table().to_pool(reply) == HRMR_OK) throw 42;
  return say(request, reply, const_cast<char*>("second "));
}

int defer_on_pool(const hrmr_request*, hrmr_reply* reply, void*) {
  const hrmr_host& host = server::host_table();
  if (host.to_pool(reply) == HRMR_OK) return HRMR_OK;
  hrmr_reply* deferred = host.defer(reply);
  if (host.to_pool(deferred) == HRMR_OK || host.to_pool(reply) == HRMR_OK) return HRMR_FAILED;
  host.write(deferred, HRMR_BYTES("deferred\n"));
  host.complete(deferred);
  return HRMR_OK;
}

}  // namespace

TEST_CASE("a handler that asks for the pool is called again there, and order is kept") {
  Seen seen;
  const Spec odd{"N", Run::kInline, answer_odd_on_pool, &seen};
  const Spec pooled{"POOL ", Run::kPool, say, "pooled "};
  Running running({odd, pooled});
  Client client = running.client();
  std::string sent;
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    const std::string n = std::to_string(i);
    sent += "N" + n + "\nPOOL " + n + "\n";
    expected +=
        (i % 2 == 0 ? "at once " : "half an answer on the pool ") + n + "\npooled " + n + "\n";
  }
  std::thread sender([&] {
    client.send(sent);
    client.finish();
  });
  CHECK(client.rest() == expected);
  sender.join();
  CHECK(seen.on_loop == 50);
  CHECK(seen.calls == 150);
}

TEST_CASE("what an inline handler does behind to_pool changes nothing") {
  Running running({{"THROW", Run::kInline, throw_behind_to_pool, nullptr},
                   {"DEFER", Run::kInline, defer_on_pool, nullptr},
                   {"GET /", Run::kInline, throw_behind_to_pool, nullptr, RouteFraming::kHttp}});
  Client client = running.client();
  client.send("THROW\nDEFER\nTHROW\n");
  CHECK(client.line() == "second \n");
  CHECK(client.line() == "deferred\n");
  CHECK(client.line() == "second \n");
  Client http = running.client();
  http.send("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const std::string answer = http.rest();
  CHECK(answer.find("HTTP/1.1 200 OK\r\n") == 0);
  CHECK(answer.find("Connection: close\r\n") != std::string::npos);
  CHECK(answer.find("second a HTTP/1.1\r\n") != std::string::npos);
  CHECK(running.take_log().find("failed") == std::string::npos);
}
