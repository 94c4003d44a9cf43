// Replies that are sent in pieces, over real sockets: framing, back-pressure, clients that go,
// handlers that fail midway, reloads.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <fstream>
#include <string>
#include <thread>

#include "eventually.h"
#include "module_gallery.h"
#include "running_server.h"
#include "server/host_table.h"
#include "server/piece.h"

using namespace hrmr;
using namespace hrmr::test;
using modules::RouteFraming;

namespace {

constexpr uint32_t kPatientMs = 20'000;

const hrmr_host& host() { return server::host_table(); }

// What the handlers below did, and what they are told to do.
struct Desk {
  std::atomic<int> pieces{0};    // flushed
  std::atomic<int> finished{0};  // handlers
  std::atomic<int> last_result{HRMR_OK};
  std::atomic<bool> may_end{false};
};

int64_t number_at_front(hrmr_bytes text) {
  int64_t number = 0;
  std::from_chars(text.data, text.data + text.size, number);
  return number;
}

// "0;1;2;...": as many pieces as `count` says.
int write_pieces(hrmr_reply* reply, int64_t count, Desk& desk) {
  for (int64_t i = 0; i < count; ++i) {
    host().write(reply, bytes(std::to_string(i) + ";"));
    const int result = host().flush(reply, kPatientMs);
    desk.last_result = result;
    if (result != HRMR_OK) return result;
    ++desk.pieces;
  }
  return HRMR_OK;
}

std::string pieces_text(int64_t count) {
  std::string text;
  for (int64_t i = 0; i < count; ++i) text += std::to_string(i) + ";";
  return text;
}

int count_in_pieces(const hrmr_request* request, hrmr_reply* reply, void* context) {
  auto& desk = *static_cast<Desk*>(context);
  host().header(reply, HRMR_BYTES("X-Kind"), HRMR_BYTES("streamed"));
  const int begun = host().stream(reply, -1);
  if (begun != HRMR_OK) return begun;
  const int result = write_pieces(reply, number_at_front(request->rest), desk);
  if (result == HRMR_OK) host().write(reply, HRMR_BYTES("end\n"));
  ++desk.finished;
  return result;
}

// The same from a thread of its own.
int count_later(const hrmr_request* request, hrmr_reply* reply, void* context) {
  auto& desk = *static_cast<Desk*>(context);
  hrmr_reply* deferred = host().defer(reply);
  handler_threads.start([count = number_at_front(request->rest), deferred, &desk] {
    host().stream(deferred, -1);
    if (write_pieces(deferred, count, desk) == HRMR_OK) host().write(deferred, HRMR_BYTES("end\n"));
    ++desk.finished;
    host().complete(deferred);
  });
  return HRMR_OK;
}

// "/DECLARED/WRITTEN": that many bytes said, that many written, in pieces of 1000.
int write_declared(const hrmr_request* request, hrmr_reply* reply, void*) {
  const std::string rest(request->rest.data, request->rest.size);
  const int64_t declared = std::stoll(rest);
  int64_t left = std::stoll(rest.substr(rest.find('/') + 1));
  host().stream(reply, declared);
  while (left > 0) {
    const auto bytes_now = static_cast<size_t>(std::min<int64_t>(left, 1000));
    const int result = host().write(reply, bytes(std::string(bytes_now, 'd')));
    if (result != HRMR_OK) return result;
    if (host().flush(reply, kPatientMs) != HRMR_OK) return HRMR_GONE;
    left -= static_cast<int64_t>(bytes_now);
  }
  return HRMR_OK;
}

int fail_midway(const hrmr_request*, hrmr_reply* reply, void*) {
  host().stream(reply, -1);
  host().write(reply, HRMR_BYTES("half"));
  host().flush(reply, kPatientMs);
  host().write(reply, HRMR_BYTES("never sent"));
  return host().fail(reply, 500, HRMR_BYTES("broken"));
}

int fail_before_first_piece(const hrmr_request*, hrmr_reply* reply, void*) {
  host().stream(reply, -1);
  host().write(reply, HRMR_BYTES("never sent"));
  return host().fail(reply, 503, HRMR_BYTES("not now"));
}

// 64 KiB pieces, without waiting, until the peer has taken none for a second: before that it may be
// the loop that is behind. Then waits until it has caught up.
int push_until_busy(const hrmr_request*, hrmr_reply* reply, void* context) {
  auto& desk = *static_cast<Desk*>(context);
  hrmr_reply* deferred = host().defer(reply);
  handler_threads.start([deferred, &desk] {
    const std::string piece(65536, 'p');
    host().stream(deferred, -1);
    int result = HRMR_OK;
    for (int refused = 0; refused < 1000 && result != HRMR_GONE;) {
      if (result == HRMR_OK) host().write(deferred, bytes(piece));
      result = host().flush(deferred, 0);
      if (result == HRMR_OK) {
        ++desk.pieces;
        refused = 0;
      } else {
        ++refused;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    desk.last_result = result;
    if (result == HRMR_BUSY && host().flush(deferred, kPatientMs) == HRMR_OK) ++desk.pieces;
    ++desk.finished;
    host().complete(deferred);
  });
  return HRMR_OK;
}

int push_for_ever(const hrmr_request*, hrmr_reply* reply, void* context) {
  auto& desk = *static_cast<Desk*>(context);
  const std::string piece(65536, 'p');
  host().stream(reply, -1);
  int result = HRMR_OK;
  while (result == HRMR_OK) {
    host().write(reply, bytes(piece));
    result = host().flush(reply, kPatientMs);
    if (result == HRMR_OK) ++desk.pieces;
  }
  desk.last_result = result;
  ++desk.finished;
  return result;
}

// One piece, then the next when it is told to.
int wait_between(const hrmr_request*, hrmr_reply* reply, void* context) {
  auto& desk = *static_cast<Desk*>(context);
  host().stream(reply, -1);
  host().write(reply, HRMR_BYTES("first\n"));
  host().flush(reply, kPatientMs);
  if (!eventually([&] { return desk.may_end.load(); })) return HRMR_FAILED;
  return host().write(reply, HRMR_BYTES("last\n"));
}

// The request's own body, behind a piece that has long left.
int echo_between(const hrmr_request* request, hrmr_reply* reply, void* context) {
  auto& desk = *static_cast<Desk*>(context);
  host().stream(reply, -1);
  host().write(reply, HRMR_BYTES("first\n"));
  host().flush(reply, kPatientMs);
  ++desk.pieces;
  if (!eventually([&] { return desk.may_end.load(); })) return HRMR_FAILED;
  return host().write(reply, request->body);
}

int send_file_in_piece(const hrmr_request*, hrmr_reply* reply, void* context) {
  host().stream(reply, -1);
  host().write(reply, HRMR_BYTES("<"));
  host().send_file(reply, *static_cast<int*>(context), 1, 300'000);
  host().write(reply, HRMR_BYTES(">"));
  host().flush(reply, kPatientMs);
  return host().write(reply, HRMR_BYTES("end"));
}

int misuse(const hrmr_request*, hrmr_reply* reply, void*) {
  const bool is_flush_refused = host().flush(reply, 0) == HRMR_BAD_ARGUMENT;
  host().write(reply, bytes(is_flush_refused ? "refused" : "taken"));
  return host().stream(reply, -1) == HRMR_TOO_LATE ? HRMR_OK : HRMR_FAILED;
}

std::vector<Spec> specs(Desk& desk) {
  return {{"GET /count/", Run::kPool, count_in_pieces, &desk, RouteFraming::kHttp},
          {"GET /later/", Run::kInline, count_later, &desk, RouteFraming::kHttp},
          {"GET /poollater/", Run::kPool, count_later, &desk, RouteFraming::kHttp},
          {"GET /inline/", Run::kInline, count_in_pieces, &desk, RouteFraming::kHttp},
          {"GET /declared/", Run::kPool, write_declared, nullptr, RouteFraming::kHttp},
          {"GET /midway", Run::kPool, fail_midway, nullptr, RouteFraming::kHttp},
          {"GET /before", Run::kPool, fail_before_first_piece, nullptr, RouteFraming::kHttp},
          {"GET /drop", Run::kPool, drop_midway, nullptr, RouteFraming::kHttp},
          {"GET /inlinedrop", Run::kInline, drop_midway, nullptr, RouteFraming::kHttp},
          {"GET /busy", Run::kInline, push_until_busy, &desk, RouteFraming::kHttp},
          {"GET /ever", Run::kPool, push_for_ever, &desk, RouteFraming::kHttp},
          {"POST /echo", Run::kPool, echo_between, &desk, RouteFraming::kHttp},
          {"GET /wait", Run::kPool, wait_between, &desk, RouteFraming::kHttp},
          {"GET /misuse", Run::kPool, misuse, nullptr, RouteFraming::kHttp},
          {"MIDWAY", Run::kPool, fail_midway, nullptr},
          {"COUNT ", Run::kPool, count_in_pieces, &desk},
          {"PING", Run::kInline, say, "pong"},
          {"GET /ping", Run::kInline, say, "pong", RouteFraming::kHttp},
          {"GET /poolping", Run::kPool, say, "pong", RouteFraming::kHttp}};
}

std::string get(const std::string& target, const char* version = "1.1", bool closes = true) {
  return "GET " + target + " HTTP/" + version + "\r\nHost: h\r\n" +
         (closes ? "Connection: close\r\n\r\n" : "\r\n");
}

struct Parsed {
  std::string head;
  std::string body;
  int chunks = 0;
  bool is_whole = false;
  std::string behind;  // what follows the last chunk
};

// A chunked response, strictly.
Parsed parse_chunked(const std::string& response) {
  Parsed parsed;
  const size_t head_end = response.find("\r\n\r\n");
  REQUIRE(head_end != std::string::npos);
  parsed.head = response.substr(0, head_end + 2);
  CHECK(contains(parsed.head, "\r\nTransfer-Encoding: chunked\r\n"));
  CHECK_FALSE(contains(parsed.head, "Content-Length"));
  size_t at = head_end + 4;
  while (at < response.size()) {
    size_t size = 0;
    const char* begin = response.data() + at;
    const auto [end, error] = std::from_chars(begin, response.data() + response.size(), size, 16);
    if (error != std::errc()) break;
    at += static_cast<size_t>(end - begin);
    REQUIRE(response.substr(at, 2) == "\r\n");
    at += 2;
    parsed.body += response.substr(at, size);
    if (response.size() < at + size + 2) break;
    CHECK(response.substr(at + size, 2) == "\r\n");
    at += size + 2;
    if (size == 0) {
      parsed.is_whole = true;
      parsed.behind = response.substr(at);
      break;
    }
    ++parsed.chunks;
  }
  return parsed;
}

std::string ask(const Running& running, const std::string& request) {
  Client client = running.client();
  client.send(request);
  return client.rest();
}

}  // namespace

TEST_CASE("each flush is a chunk, and the end of the handler is the last one") {
  Desk desk;
  const Running running(specs(desk));
  for (const int count : {0, 1, 2, 500}) {
    for (const char* way : {"/count/", "/later/", "/poollater/"}) {
      CAPTURE(way);
      const Parsed got = parse_chunked(ask(running, get(way + std::to_string(count))));
      CHECK(got.is_whole);
      CHECK(got.behind.empty());
      CHECK(got.body == pieces_text(count) + "end\n");
      CHECK(got.chunks == count + 1);
      CHECK(contains(got.head, "HTTP/1.1 200 OK\r\n"));
      CHECK(contains(got.head, "\r\nDate: "));
      if (std::string(way) == "/count/") CHECK(contains(got.head, "\r\nX-Kind: streamed\r\n"));
    }
  }
}

TEST_CASE("HTTP/1.0 gets the pieces as they are, and the close is the end") {
  Desk desk;
  const Running running(specs(desk));
  for (const char* way : {"/count/3", "/later/3"}) {
    // Even when it asked to stay.
    const std::string response =
        ask(running, "GET " + std::string(way) + " HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    CHECK(contains(response, "\r\nConnection: close\r\n"));
    CHECK_FALSE(contains(response, "Transfer-Encoding"));
    CHECK_FALSE(contains(response, "Content-Length"));
    CHECK(response.substr(response.find("\r\n\r\n")) == "\r\n\r\n0;1;2;end\n");
  }
}

TEST_CASE("a line's pieces are sent as they are") {
  Desk desk;
  const Running running(specs(desk));
  Client client = running.client();
  client.send("COUNT 3\nPING\n");
  CHECK(client.line() == "0;1;2;end\n");
  CHECK(client.line() == "pong\n");
  client.send("MIDWAY\nPING\n");
  CHECK(client.rest() == "half");
}

TEST_CASE("a streamed reply keeps its place among pipelined ones") {
  Desk desk;
  const Running running(specs(desk));
  for (const char* way : {"/count/50", "/later/50", "/poollater/50"}) {
    for (const char* around : {"/ping", "/poolping"}) {
      CAPTURE(way);
      CAPTURE(around);
      Client client = running.client();
      client.send(get(around, "1.1", false) + get(around, "1.1", false) + get(way, "1.1", false) +
                  get(around));
      const std::string all = client.rest();
      const size_t streamed_at = all.find("HTTP/1.1 ", all.find("HTTP/1.1 ", 9) + 9);
      REQUIRE(streamed_at != std::string::npos);
      const Parsed got = parse_chunked(all.substr(streamed_at));
      CHECK(got.is_whole);
      CHECK(got.body == pieces_text(50) + "end\n");
      CHECK(got.behind.substr(0, 9) == "HTTP/1.1 ");
      CHECK(contains(got.behind, "pong HTTP/1.1"));
    }
  }
}

TEST_CASE("pieces arrive while the handler still runs") {
  Desk desk;
  const Running running(specs(desk));
  Client client = running.client();
  client.send(get("/poolping", "1.1", false) + get("/wait"));
  while (client.line() != "first\n") {
  }
  desk.may_end = true;
  CHECK(contains(client.rest(), "5\r\nlast\n\r\n0\r\n\r\n"));
}

TEST_CASE("HEAD gets the head alone, whatever is written") {
  Desk desk;
  const Running running(specs(desk));
  for (const char* target : {"/count/5", "/later/5", "/declared/2000/2000", "/declared/2000/0"}) {
    const std::string response =
        ask(running,
            "HEAD " + std::string(target) + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    CHECK(response.substr(0, 15) == "HTTP/1.1 200 OK");
    CHECK(response.find("\r\n\r\n") == response.size() - 4);
  }
}

TEST_CASE("a declared length is sent and held to") {
  Desk desk;
  const Running running(specs(desk));
  for (const char* version : {"1.0", "1.1"}) {
    const std::string response = ask(running, get("/declared/2500/2500", version));
    CHECK(contains(response, "\r\nContent-Length: 2500\r\n"));
    CHECK(response.substr(response.find("\r\n\r\n") + 4) == std::string(2500, 'd'));
    // Not a byte more than was said, and the missing ones are seen to be missing.
    const std::string longer = ask(running, get("/declared/2500/3500", version));
    CHECK(longer.substr(longer.find("\r\n\r\n") + 4) == std::string(2000, 'd'));
    const std::string shorter = ask(running, get("/declared/2500/1500", version));
    CHECK(contains(shorter, "\r\nContent-Length: 2500\r\n"));
    CHECK(shorter.substr(shorter.find("\r\n\r\n") + 4) == std::string(1500, 'd'));
  }
  CHECK(ask(running, get("/declared/5/0")).substr(0, 13) == "HTTP/1.1 500 ");
  const std::string empty = ask(running, get("/declared/0/0"));
  CHECK(contains(empty, "\r\nContent-Length: 0\r\n"));
}

TEST_CASE("a handler that fails midway breaks the connection off") {
  Desk desk;
  const Running running(specs(desk));
  for (const char* target : {"/midway", "/drop", "/inlinedrop"}) {
    CAPTURE(target);
    Client client = running.client();
    client.send(get(target, "1.1", false) + get("/ping"));
    const Parsed got = parse_chunked(client.rest());
    CHECK_FALSE(got.is_whole);
    CHECK(got.body == "half");
  }
  // To HTTP/1.0 the close is the end, so it must not be one.
  Client old = running.client();
  old.send("GET /midway HTTP/1.0\r\n\r\n");
  char room[4096];
  std::string text;
  ssize_t got = 0;
  while ((got = old.read_into(room, sizeof room)) > 0) text.append(room, static_cast<size_t>(got));
  CHECK(got == -1);
  CHECK(errno == ECONNRESET);
}

TEST_CASE("what a streaming handler reads of its request is nobody else's meanwhile") {
  for (const size_t size : {12'000u, 200'000u}) {
    CAPTURE(size);
    Desk desk;
    const Running running(specs(desk));
    Client client = running.client();
    const std::string body(size, 'a');
    client.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(size) +
                "\r\n\r\n" + body + get("/ping"));
    // The piece has been sent, and the loop has nothing more to do for this one.
    for (std::string line = client.line(); line != "first\n"; line = client.line()) {
      REQUIRE_FALSE(line.empty());
    }
    std::vector<Client> others;
    for (int i = 0; i < 4; ++i) {
      others.push_back(running.client());
      others.back().send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" +
                         std::string(100'000, 'b'));
    }
    CHECK(contains(ask(running, get("/ping")), "pong"));
    desk.may_end = true;
    const std::string rest = client.rest();
    CHECK(contains(rest, body.c_str()));
    CHECK_FALSE(contains(rest, "bbbb"));
    CHECK(contains(rest, "pong"));
  }
}

TEST_CASE("what fails before the first piece is an error reply like any other") {
  Desk desk;
  const Running running(specs(desk));
  const std::string response = ask(running, get("/before"));
  CHECK(response.substr(0, 13) == "HTTP/1.1 503 ");
  CHECK(contains(response, "\r\nContent-Length: 8\r\n"));
  CHECK(contains(response, "\r\n\r\nnot now\n"));
}

TEST_CASE("inline functions cannot stream without deferring, and misuse is refused") {
  Desk desk;
  const Running running(specs(desk));
  CHECK(contains(ask(running, get("/inline/3")), "an inline function must defer its reply first"));
  const std::string response = ask(running, get("/misuse"));
  CHECK(response.substr(response.find("\r\n\r\n")) == "\r\n\r\nrefused");
}

TEST_CASE("a flush that does not wait says when the peer is behind, and loses nothing") {
  Desk desk;
  const Running running(specs(desk));
  Client client = running.client();
  client.send(get("/busy"));
  REQUIRE(eventually([&] { return desk.last_result == HRMR_BUSY; }));
  CHECK(desk.finished == 0);
  // What is unread is bounded: 1 MiB here, and what the kernel's own buffers hold.
  CHECK(desk.pieces < 400);
  const Parsed got = parse_chunked(client.rest());
  CHECK(got.is_whole);
  CHECK(desk.finished == 1);
  CHECK(got.body.size() == static_cast<size_t>(desk.pieces) * 65536 + 0);
}

TEST_CASE("a client that goes ends the handler, whether it reads slowly or not") {
  Desk desk;
  const Running running(specs(desk));
  for (const bool reads : {false, true}) {
    const int finished = desk.finished;
    const int pieces = desk.pieces;
    Client client = running.client();
    client.send(get("/ever"));
    client.await_answer();
    if (reads) REQUIRE(client.skip(10'000'000));
    CHECK(eventually([&] { return desk.pieces > pieces; }));
    client.reset();
    CHECK(eventually([&] { return desk.finished == finished + 1; }));
    CHECK(desk.last_result == HRMR_GONE);
  }
  CHECK_FALSE(contains(running.take_log(), "failed"));
  CHECK(contains(ask(running, get("/ping")), "pong"));
}

TEST_CASE("a reload waits for a streamed reply, which comes whole from the old code") {
  Desk desk;
  Running running(specs(desk));
  Client client = running.client();
  client.send(get("/wait"));
  while (client.line() != "first\n") {
  }
  running.reload({{"GET /ping", Run::kInline, say, "new", RouteFraming::kHttp}});
  CHECK(running.loader->unloads == 0);
  CHECK(contains(ask(running, get("/ping")), "new"));
  desk.may_end = true;
  CHECK(contains(client.rest(), "5\r\nlast\n\r\n0\r\n\r\n"));
  CHECK(eventually([&] { return running.loader->unloads == 1; }));
}

TEST_CASE("a piece may have files in it") {
  Desk desk;
  const TempFolder folder;
  std::string content;
  while (content.size() < 300'001) content += std::to_string(content.size());
  std::ofstream(folder / "file") << content;
  const Fd fd(::open((folder / "file").c_str(), O_RDONLY | O_CLOEXEC));
  int number = fd.get();
  const Running running({{"GET /", Run::kPool, send_file_in_piece, &number, RouteFraming::kHttp}});
  const Parsed got = parse_chunked(ask(running, get("/")));
  CHECK(got.is_whole);
  CHECK(got.chunks == 2);
  CHECK(got.body == "<" + content.substr(1, 300'000) + ">end");
}
