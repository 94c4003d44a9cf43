// Deferred replies over real sockets: every order in which handler, batch, completion and client
// can come. Reloads and shutdowns: deferred_life_test.cpp.
#include "server/deferred.h"

#include <doctest/doctest.h>

#include <atomic>
#include <string>
#include <thread>

#include "eventually.h"
#include "module_gallery.h"
#include "running_server.h"
#include "shelf.h"

using namespace hrmr;
using namespace hrmr::test;
using modules::RouteFraming;

namespace {

int drop_at_once(const hrmr_request*, hrmr_reply* reply, void*) {
  host().drop(host().defer(reply));
  return HRMR_OK;
}

// All that a handler must not do once its reply is deferred, and what came of it.
int misuse(const hrmr_request*, hrmr_reply* reply, void*) {
  host().write(reply, HRMR_BYTES("half an answer"));
  hrmr_reply* deferred = host().defer(reply);
  const bool is_second_refused =
      host().defer(reply) == nullptr && host().defer(deferred) == nullptr;
  const bool is_write_refused = host().write(reply, HRMR_BYTES("lost")) == HRMR_TOO_LATE &&
                                host().reserve(reply, 4) == nullptr;
  host().fail(reply, 500, HRMR_BYTES("lost too"));
  host().complete(reply);
  host().drop(reply);
  host().drop(nullptr);
  host().write(deferred, bytes(is_second_refused && is_write_refused ? "refused\n" : "taken\n"));
  host().complete(deferred);
  return HRMR_FAILED;
}

int complete_own(const hrmr_request* request, hrmr_reply* reply, void*) {
  host().complete(reply);
  host().drop(reply);
  return say(request, reply, const_cast<char*>("own "));
}

int throw_behind_defer(const hrmr_request*, hrmr_reply* reply, void* context) {
  static_cast<Shelf*>(context)->put(host().defer(reply));
  throw 42;
}

// An HTTP answer: its head, then as much body as Content-Length says, unless it is one to HEAD.
std::string http_answer(Client& client, bool is_head = false) {
  std::string head;
  for (std::string line = client.line(); line != "\r\n" && !line.empty(); line = client.line()) {
    head += line;
  }
  const size_t length_at = head.find("Content-Length: ");
  REQUIRE(length_at != std::string::npos);
  std::string body;
  const size_t length = std::stoul(head.substr(length_at + 16));
  while (!is_head && body.size() < length) body += client.line();
  CHECK(contains(head, "Date: "));
  return head + "\r\n" + body;
}

}  // namespace

TEST_CASE(
    "a deferred reply keeps its place: what is pipelined before it is sent, what is behind waits") {
  for (const Run run : kRuns) {
    Shelf shelf;
    Running running({kInline, kPooled, deferring("LATER", run, shelf)});
    Client client = running.client();
    client.send("IN 1\nPOOL 2\nLATER\nPOOL 3\nIN 4\nLATER\nLATER\nPOOL 5\n");
    CHECK(client.line() == "inline 1\n");
    CHECK(client.line() == "pooled 2\n");
    shelf.answer("first\n");
    CHECK(client.line() == "first\n");
    CHECK(client.line() == "pooled 3\n");
    CHECK(client.line() == "inline 4\n");
    shelf.answer("second\n");
    CHECK(client.line() == "second\n");
    hrmr_reply* third = shelf.take();
    REQUIRE(third != nullptr);
    CHECK(shelf.size() == 0);
    host().write(third, HRMR_BYTES("third\n"));
    host().complete(third);
    CHECK(client.line() == "third\n");
    CHECK(client.line() == "pooled 5\n");
  }
}

TEST_CASE("other connections of the loop are served while a reply is outstanding") {
  Shelf shelf;
  Running running({kInline, deferring("LATER", Run::kInline, shelf)});
  Client waiting = running.client();
  waiting.send("LATER\n");
  hrmr_reply* reply = shelf.take();
  Client other = running.client();
  CHECK(ask(other, "IN 1\n") == "inline 1\n");
  std::thread([reply] {
    host().write(reply, HRMR_BYTES("from another thread\n"));
    host().complete(reply);
  }).join();
  CHECK(waiting.line() == "from another thread\n");
}

TEST_CASE("a reply may be completed or dropped before its handler returns") {
  for (const Run run : kRuns) {
    Running running({kInline,
                     kPooled,
                     {"NOW ", run, complete_at_once, nullptr},
                     {"DROP", run, drop_at_once, nullptr}});
    Client client = running.client();
    std::string sent;
    std::string expected;
    for (int i = 0; i < 50; ++i) {
      const std::string number = std::to_string(i);
      sent += "NOW " + number + "\nPOOL " + number + "\nDROP\nIN " + number + "\n";
      expected += number + " at once\npooled " + number +
                  "\nERR module 'spec' dropped the request without an answer\ninline " + number +
                  "\n";
    }
    client.send(sent);
    client.finish();
    CHECK(client.rest() == expected);
  }
}

TEST_CASE("a reply that comes before its batch is kept until the batch is back") {
  Lingerer lingerer;
  Running running({kInline, kPooled, {"LINGER", Run::kPool, Lingerer::handle, &lingerer}});
  Client client = running.client();
  client.send("POOL 1\nLINGER\nPOOL 2\n");
  lingerer.shelf.answer("early\n");
  // Two turns of the loop later it has been delivered.
  Client other = running.client();
  CHECK(ask(other, "IN a\n") == "inline a\n");
  CHECK(ask(other, "IN b\n") == "inline b\n");
  lingerer.may_go = true;
  CHECK(client.line() == "pooled 1\n");
  CHECK(client.line() == "early\n");
  CHECK(client.line() == "pooled 2\n");
}

TEST_CASE("after defer the handler has no more to do with the reply") {
  for (const Run run : kRuns) {
    Shelf shelf;
    Running running({{"MISUSE", run, misuse, nullptr},
                     {"OWN ", run, complete_own, nullptr},
                     {"THROW", run, throw_behind_defer, &shelf}});
    Client client = running.client();
    CHECK(ask(client, "MISUSE\n") == "refused\n");
    CHECK(ask(client, "OWN 1\n") == "own 1\n");
    client.send("THROW\n");
    shelf.answer("thrown behind\n");
    CHECK(client.line() == "thrown behind\n");
  }
}

TEST_CASE("a reply that is dropped, or on which a call was refused, is an error and in the log") {
  Shelf shelf;
  Running running({deferring("LATER", Run::kPool, shelf)});
  Client client = running.client();
  client.send("LATER\nLATER\nLATER\n");
  host().drop(shelf.take());
  CHECK(client.line() == "ERR module 'spec' dropped the request without an answer\n");
  CHECK(contains(running.take_log(),
                 "module.spec: the deferred reply of the handler of 'LATER' was dropped"));
  hrmr_reply* refused = shelf.take();
  CHECK(host().header(refused, HRMR_BYTES("A"), HRMR_BYTES("b")) == HRMR_OK);
  CHECK(host().reserve(refused, limits::kReplyBytesMax + 1) == nullptr);
  CHECK(host().write(refused, HRMR_BYTES("half an answer")) == HRMR_OK);
  host().complete(refused);
  CHECK(client.line() ==
        "ERR module 'spec' failed: a reserve was refused: the reply is too large "
        "(for reply_max, --reply-max, or for the length it was given) or too deep\n");
  hrmr_reply* failed = shelf.take();
  CHECK(host().reserve(failed, limits::kReplyBytesMax + 1) == nullptr);
  host().fail(failed, 404, HRMR_BYTES("not that one"));
  host().complete(failed);
  CHECK(client.line() == "ERR not that one\n");
}

TEST_CASE("HTTP: keep-alive, HEAD, HTTP/1.0, close and errors are those of any reply") {
  for (const Run run : kRuns) {
    Shelf shelf;
    Running running({deferring("GET /", run, shelf, RouteFraming::kHttp),
                     deferring("HEAD /", run, shelf, RouteFraming::kHttp)});
    Client client = running.client();
    const std::string get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(get + "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + get);
    hrmr_reply* first = shelf.take();
    CHECK(host().status(first, 201) == HRMR_OK);
    CHECK(host().header(first, HRMR_BYTES("X-Late"), HRMR_BYTES("yes")) == HRMR_OK);
    host().write(first, HRMR_BYTES("made\n"));
    host().complete(first);
    const std::string made = http_answer(client);
    CHECK(contains(made, "HTTP/1.1 201 Created\r\nX-Late: yes\r\n"));
    CHECK(made.ends_with("\r\n\r\nmade\n"));
    shelf.answer("not sent\n");
    CHECK(contains(http_answer(client, true), "Content-Length: 9\r\n"));
    hrmr_reply* last = shelf.take();
    host().close(last);
    host().write(last, HRMR_BYTES("bye\n"));
    host().complete(last);
    const std::string bye = client.rest();
    CHECK(contains(bye, "Connection: close\r\n"));
    CHECK(bye.ends_with("\r\n\r\nbye\n"));

    Client old = running.client();
    old.send("GET / HTTP/1.0\r\n\r\n");
    host().drop(shelf.take());
    const std::string error = old.rest();
    CHECK(contains(error, "HTTP/1.1 500 Internal Server Error\r\n"));
    CHECK(error.ends_with("\r\n\r\nmodule 'spec' dropped the request without an answer\n"));
  }
}

TEST_CASE("raw framing: the bytes are the reply") {
  Shelf shelf;
  Running running({deferring("\x01", Run::kInline, shelf, RouteFraming::kRaw)});
  Client client = running.client();
  client.send("\x01 abc");
  shelf.answer("\x02 def\n");
  CHECK(client.line() == "\x02 def\n");
}

TEST_CASE("a reply larger than the peer takes at once is sent whole, and what is behind it too") {
  Shelf shelf;
  Running running({kPooled, deferring("LATER", Run::kPool, shelf)});
  Client client = running.client();
  client.send("LATER\nPOOL 1\n");
  const std::string much(8 * limits::kOutputHighBytes, 'x');
  shelf.answer(much + "\n");
  CHECK(client.line() == much + "\n");
  CHECK(client.line() == "pooled 1\n");
}

TEST_CASE("a client that has reset its connection is let go, and its reply harmless") {
  for (const Run run : kRuns) {
    Shelf shelf;
    server::Options options;
    options.connections_max = 2;
    Running running({kInline, kPooled, deferring("LATER", run, shelf)}, options);
    Client gone = running.client();
    gone.send("POOL 1\nLATER\nPOOL 2\n");
    CHECK(gone.line() == "pooled 1\n");
    hrmr_reply* reply = shelf.take();
    const size_t descriptors = open_descriptors();
    gone.reset();
    // Its own is closed, and so is the server's.
    CHECK(eventually([&] { return open_descriptors() == descriptors - 2; }));
    host().write(reply, HRMR_BYTES("for nobody\n"));
    host().complete(reply);
    // Its place is free again.
    CHECK(eventually([&] {
      Client first = running.client();
      Client second = running.client();
      first.send("IN 1\n");
      second.send("IN 2\n");
      return first.line() == "inline 1\n" && second.line() == "inline 2\n";
    }));
  }
}

TEST_CASE("a client that only ended its own half gets its reply") {
  Shelf shelf;
  Running running({deferring("LATER", Run::kInline, shelf)});
  Client client = running.client();
  client.send("LATER\n");
  client.finish();
  shelf.answer("here\n");
  CHECK(client.rest() == "here\n");
}

TEST_CASE("the idle timeout counts from the reply") {
  Shelf shelf;
  server::Options options;
  options.timeouts.idle_ms = 30;
  Running running({kInline, deferring("LATER", Run::kInline, shelf)}, options);
  Client client = running.client();
  client.send("LATER\n");
  hrmr_reply* reply = shelf.take();
  // One that came later is closed for being idle, several times over.
  for (int i = 0; i < 3; ++i) CHECK(running.client().rest().empty());
  host().write(reply, HRMR_BYTES("here\n"));
  host().complete(reply);
  CHECK(client.line() == "here\n");
  CHECK(client.rest().empty());
}
