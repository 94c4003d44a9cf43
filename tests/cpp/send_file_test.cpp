// Files in replies over real sockets: every byte, in its place, whoever answers and however the
// peer reads. The placing of files between bytes: output_test.cpp.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "eventually.h"
#include "file_shop.h"
#include "running_server.h"

using namespace hrmr;
using namespace hrmr::test;
using modules::RouteFraming;

namespace {

int send_ranges_later(const hrmr_request* request, hrmr_reply* reply, void* context) {
  const auto& shop = *static_cast<const Shop*>(context);
  hrmr_reply* deferred = host().defer(reply);
  handler_threads.start([numbers = numbers_of(request->rest), deferred, &shop] {
    write_ranges(numbers, deferred, shop);
    host().complete(deferred);
  });
  return HRMR_OK;
}

// The file alone, in a descriptor that is the handler's own and closed when it returns.
int send_whole(const hrmr_request*, hrmr_reply* reply, void* context) {
  const auto& shop = *static_cast<const Shop*>(context);
  const Fd fd(::open(shop.path().c_str(), O_RDONLY | O_CLOEXEC));
  return host().send_file(reply, fd.get(), 0, shop.content.size());
}

int fail_behind_file(const hrmr_request*, hrmr_reply* reply, void* context) {
  const auto& shop = *static_cast<const Shop*>(context);
  host().send_file(reply, shop.fd.get(), 0, shop.content.size());
  return HRMR_FAILED;
}

std::vector<Spec> specs(const Shop& shop) {
  return {{"GET /inline/", Run::kInline, send_ranges, &shop, RouteFraming::kHttp},
          {"GET /pool/", Run::kPool, send_ranges, &shop, RouteFraming::kHttp},
          {"GET /later/", Run::kInline, send_ranges_later, &shop, RouteFraming::kHttp},
          {"GET /whole", Run::kPool, send_whole, &shop, RouteFraming::kHttp},
          {"HEAD /inline/", Run::kInline, send_ranges, &shop, RouteFraming::kHttp},
          {"GET /fail", Run::kInline, fail_behind_file, &shop, RouteFraming::kHttp},
          {"INLINE ", Run::kInline, send_ranges, &shop},
          {"POOL ", Run::kPool, send_ranges, &shop},
          {"LATER ", Run::kPool, send_ranges_later, &shop},
          {"WHOLE", Run::kInline, send_whole, &shop},
          {"PING", Run::kInline, say, "pong"}};
}

}  // namespace

TEST_CASE("every byte of a file arrives, at many sizes, from every kind of handler") {
  const Shop shop(noise(3 * 1024 * 1024 + 17));
  const Running running(specs(shop));
  for (const size_t size :
       {1u, 9u, 10u, 4095u, 4096u, 65536u, 262144u, 262145u, 1048577u, 3145745u}) {
    const std::string range = "0/" + std::to_string(size);
    const std::string expected = "[" + shop.content.substr(0, size) + "]";
    for (const char* way : {"/inline/", "/pool/", "/later/"}) {
      CAPTURE(way);
      CAPTURE(size);
      CHECK(body_of(ask(running, way + range)) == expected);
    }
    for (const char* way : {"INLINE ", "POOL ", "LATER "}) {
      Client client = running.client();
      client.send(way + range + "\n");
      client.finish();
      CHECK(client.rest() == expected);
    }
  }
  CHECK(eventually([&] { return descriptors_of(shop) == 1; }));
}

TEST_CASE("files and bytes interleave") {
  const Shop shop(noise(70'000));
  const Running running(specs(shop));
  std::string target = "0/1/69999/1/70000/0/0/70000";
  std::string expected = "[" + shop.content.substr(0, 1) + "][" + shop.content.substr(69999) +
                         "][][" + shop.content + "]";
  for (int i = 0; i < 60; ++i) {
    target += "/" + std::to_string(i * 1000) + "/" + std::to_string(i * 7);
    expected +=
        "[" + shop.content.substr(static_cast<size_t>(i) * 1000, static_cast<size_t>(i) * 7) + "]";
  }
  for (const char* way : {"/inline/", "/pool/", "/later/"}) {
    CHECK(body_of(ask(running, way + target)) == expected);
  }
}

TEST_CASE("a reply may be nothing but a file, whose descriptor the handler has closed") {
  const Shop shop(noise(500'000));
  const Running running(specs(shop));
  CHECK(body_of(ask(running, "/whole")) == shop.content);
  Client client = running.client();
  client.send("WHOLE\nPING\nWHOLE\n");
  client.finish();
  CHECK(client.rest() == shop.content + "pong\n" + shop.content);
}

TEST_CASE("pipelined requests keep their order, around files too") {
  const Shop shop(noise(300'000));
  const Running running(specs(shop));
  Client client = running.client();
  std::string asked;
  std::string expected;
  for (int i = 0; i < 100; ++i) {
    const std::string size = std::to_string(i * 3000);
    asked += (i % 3 == 0 ? "POOL 0/" : i % 3 == 1 ? "INLINE 0/" : "LATER 0/") + size + "\nPING\n";
    expected += "[" + shop.content.substr(0, static_cast<size_t>(i) * 3000) + "]pong\n";
  }
  std::thread sender([&] {
    client.send(asked);
    client.finish();
  });
  const std::string got = client.rest();
  sender.join();
  CHECK(got.size() == expected.size());
  CHECK(got == expected);
}

TEST_CASE("HEAD says the length of the files and sends none of them") {
  const Shop shop(noise(100'000));
  const Running running(specs(shop));
  Client client = running.client();
  client.send("HEAD /inline/0/100000 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::string response = client.rest();
  CHECK(contains(response, "\r\nContent-Length: 100002\r\n"));
  CHECK(response.substr(response.find("\r\n\r\n")) == "\r\n\r\n");
  CHECK(descriptors_of(shop) == 1);
}

TEST_CASE("a reader that is slow holds up neither the file nor the others") {
  const Shop shop(noise(8 * 1024 * 1024));
  const Running running(specs(shop));
  Client slow = running.client();
  slow.send(get("/inline/0/8388608", "Connection: close\r\n"));
  slow.await_answer();
  for (int i = 0; i < 20; ++i) {
    Client quick = running.client();
    quick.send("PING\n");
    CHECK(quick.line() == "pong\n");
    REQUIRE(slow.skip(100'000));
  }
  const std::string end = slow.rest();
  REQUIRE(end.size() > 6'000'000);
  CHECK(end == (shop.content + "]").substr(shop.content.size() + 1 - end.size()));
}

TEST_CASE("a client that goes in the middle leaves no descriptor") {
  const Shop shop(noise(8 * 1024 * 1024));
  const Running running(specs(shop));
  Client other = running.client();
  other.send("PING\n");
  CHECK(other.line() == "pong\n");  // by now the server has opened what it opens once
  const size_t before = open_descriptors();
  for (const char* way : {"/inline/", "/pool/", "/later/"}) {
    std::vector<Client> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(running.client());
      clients.back().send(get(way + std::string("0/8388608/0/8388608")));
      clients.back().await_answer();
    }
    CHECK(descriptors_of(shop) > 8);
    for (Client& client : clients) client.reset();
    CHECK(eventually([&] { return open_descriptors() == before; }));
  }
}

TEST_CASE("a file that has become shorter breaks the connection, and nothing comes in its place") {
  Shop shop(noise(16 * 1024 * 1024));
  const Running running(specs(shop));
  Client client = running.client();
  client.send(get("/inline/0/16777216") + get("/inline/0/1"));
  client.await_answer();
  REQUIRE(::truncate(shop.path().c_str(), 9 * 1024 * 1024) == 0);
  const std::string response = client.rest();
  CHECK(contains(response.substr(0, 200), "\r\nContent-Length: 16777218\r\n"));
  const std::string body = response.substr(response.find("\r\n\r\n") + 5);
  CHECK(body.size() <= 9 * 1024 * 1024);
  CHECK(body == shop.content.substr(0, body.size()));
  CHECK(eventually([&] { return descriptors_of(shop) == 1; }));
}

TEST_CASE("files that cannot be sent are refused at once") {
  const Shop shop("0123456789");
  const Running running(specs(shop));
  for (const char* range : {"0/11", "11/0", "10/1", "9/2", "1/18446744073709551615"}) {
    CAPTURE(range);
    for (const char* way : {"/inline/", "/pool/", "/later/"}) {
      const std::string response = ask(running, way + std::string(range));
      CHECK(contains(response, "HTTP/1.1 500 "));
      CHECK(contains(response, "a file was refused: the range ends behind the file"));
    }
  }
  CHECK(body_of(ask(running, "/inline/10/0")) == "[]");
  CHECK(contains(ask(running, "/fail"), "HTTP/1.1 500 "));
  CHECK(descriptors_of(shop) == 1);
}

TEST_CASE("a range of a file may be larger than any reply in memory") {
  const Shop shop("begin");
  constexpr uint64_t kSize = uint64_t{10} * 1024 * 1024 * 1024;
  REQUIRE(::truncate(shop.path().c_str(), static_cast<off_t>(kSize)) == 0);  // sparse
  const Running running(specs(shop));
  Client client = running.client();
  client.send(get("/inline/0/" + std::to_string(kSize)));
  std::string head;
  for (std::string line = client.line(); line != "\r\n"; line = client.line()) head += line;
  CHECK(contains(head, "\r\nContent-Length: " + std::to_string(kSize + 2) + "\r\n"));
  CHECK(client.skip(32 * 1024 * 1024));
  client.reset();
  CHECK(eventually([&] { return descriptors_of(shop) == 1; }));
}

TEST_CASE("a reload does not disturb a file that is being sent") {
  const Shop shop(noise(8 * 1024 * 1024));
  Running running(specs(shop));
  Client client = running.client();
  client.send(get("/inline/0/8388608", "Connection: close\r\n"));
  client.await_answer();
  running.reload({{"PING", Run::kInline, say, "pong 2"}});
  CHECK(eventually([&] { return running.loader->unloads == 1; }));
  CHECK(body_of(client.rest()) == "[" + shop.content + "]");
  Client after = running.client();
  after.send("PING\n");
  CHECK(after.line() == "pong 2\n");
}

TEST_CASE("a shutdown lets a file that is being sent arrive whole") {
  const Shop shop(noise(8 * 1024 * 1024));
  const Running running(specs(shop));
  Client client = running.client();
  client.send(get("/inline/0/8388608"));
  client.await_answer();
  std::thread stopper([&] { running.server->begin_shutdown(); });
  const std::string response = client.rest();
  stopper.join();
  CHECK(body_of(response) == "[" + shop.content + "]");
}
