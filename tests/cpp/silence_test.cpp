// CLIENT REPLY over real sockets, for replies that are sent in pieces or have files in them: not a
// byte of a silenced one appears, and what is behind it keeps its place. Of the others:
// command_test.cpp.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <string>
#include <vector>

#include "module_gallery.h"
#include "running_server.h"

using namespace hrmr;
using namespace hrmr::test;
using modules::RouteFraming;

namespace {

constexpr uint32_t kPatientMs = 20'000;
constexpr size_t kFileBytes = 300'000;

const hrmr_host& host() { return server::host_table(); }

struct Goods {
  Goods() {
    for (size_t i = 0; content.size() < kFileBytes; ++i) content += std::to_string(i);
    write_file(folder / "file", content);
    fd = Fd(::open((folder / "file").c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(fd.is_open());
  }
  TempFolder folder;
  std::string content;
  Fd fd;
};

int write_pieces(hrmr_reply* reply) {
  int result = host().stream(reply, -1);
  for (int i = 0; i < 3 && result == HRMR_OK; ++i) {
    host().write(reply, bytes(std::to_string(i) + ";"));
    result = host().flush(reply, kPatientMs);
  }
  return result == HRMR_OK ? host().write(reply, HRMR_BYTES("end\n")) : result;
}

int write_file_between(hrmr_reply* reply, void* context) {
  const auto& goods = *static_cast<Goods*>(context);
  host().write(reply, HRMR_BYTES("<"));
  host().send_file(reply, goods.fd.get(), 0, goods.content.size());
  return host().write(reply, HRMR_BYTES(">\n"));
}

int count(const hrmr_request*, hrmr_reply* reply, void*) { return write_pieces(reply); }
int count_later(const hrmr_request*, hrmr_reply* reply, void*) {
  hrmr_reply* deferred = host().defer(reply);
  handler_threads.start([deferred] {
    write_pieces(deferred);
    host().complete(deferred);
  });
  return HRMR_OK;
}
// In as many pieces as were said, of 5 bytes each.
int count_declared(const hrmr_request*, hrmr_reply* reply, void*) {
  host().stream(reply, 10);
  host().write(reply, HRMR_BYTES("12345"));
  host().flush(reply, kPatientMs);
  return host().write(reply, HRMR_BYTES("6789\n"));
}

int send_file(const hrmr_request*, hrmr_reply* reply, void* context) {
  return write_file_between(reply, context);
}
int send_file_later(const hrmr_request*, hrmr_reply* reply, void* context) {
  hrmr_reply* deferred = host().defer(reply);
  handler_threads.start([deferred, context] {
    write_file_between(deferred, context);
    host().complete(deferred);
  });
  return HRMR_OK;
}
int send_file_in_pieces(const hrmr_request*, hrmr_reply* reply, void* context) {
  host().stream(reply, -1);
  write_file_between(reply, context);
  host().flush(reply, kPatientMs);
  return write_file_between(reply, context);
}

int fail_in_the_middle(const hrmr_request*, hrmr_reply* reply, void*) {
  host().stream(reply, -1);
  host().write(reply, HRMR_BYTES("half"));
  host().flush(reply, kPatientMs);
  return HRMR_FAILED;
}
int fail_at_once(const hrmr_request*, hrmr_reply* reply, void*) {
  host().stream(reply, -1);
  host().write(reply, HRMR_BYTES("half"));
  return HRMR_FAILED;
}
// Has no end of its own.
int count_for_ever(const hrmr_request*, hrmr_reply* reply, void*) {
  host().stream(reply, -1);
  int result = HRMR_OK;
  while (result == HRMR_OK) {
    host().write(reply, HRMR_BYTES("more;"));
    result = host().flush(reply, kPatientMs);
  }
  return result;
}
int count_for_ever_later(const hrmr_request*, hrmr_reply* reply, void*) {
  hrmr_reply* deferred = host().defer(reply);
  handler_threads.start([deferred] {
    CHECK(count_for_ever(nullptr, deferred, nullptr) == HRMR_GONE);
    host().complete(deferred);
  });
  return HRMR_OK;
}
std::vector<Spec> specs(Goods& goods) {
  return {{"COUNT", Run::kPool, count, nullptr},
          {"COUNT-LATER", Run::kInline, count_later, nullptr},
          {"COUNT-POOL-LATER", Run::kPool, count_later, nullptr},
          {"COUNT-DECLARED", Run::kPool, count_declared, nullptr},
          {"FILE", Run::kInline, send_file, &goods},
          {"FILE-POOL", Run::kPool, send_file, &goods},
          {"FILE-LATER", Run::kPool, send_file_later, &goods},
          {"FILE-PIECES", Run::kPool, send_file_in_pieces, &goods},
          {"RAW:", Run::kPool, count, nullptr, RouteFraming::kRaw},
          {"COUNT-FOR-EVER", Run::kPool, count_for_ever, nullptr},
          {"LATER-FOR-EVER", Run::kInline, count_for_ever_later, nullptr},
          {"FAIL-MIDDLE", Run::kPool, fail_in_the_middle, nullptr},
          {"FAIL-AT-ONCE", Run::kPool, fail_at_once, nullptr},
          {"FAIL-DROP", Run::kPool, drop_midway, nullptr},
          {"FAIL-INLINE-DROP", Run::kInline, drop_midway, nullptr},
          {"IN ", Run::kInline, say, "inline "},
          {"POOL ", Run::kPool, say, "pooled "}};
}

struct Way {
  std::string line;
  std::string reply;
};

std::vector<Way> ways(const Goods& goods) {
  const std::string counted = "0;1;2;end\n";
  const std::string file = "<" + goods.content + ">\n";
  return {{"COUNT\n", counted},
          {"COUNT-LATER\n", counted},
          {"COUNT-POOL-LATER\n", counted},
          {"COUNT-DECLARED\n", "123456789\n"},
          {"FILE\n", file},
          {"FILE-POOL\n", file},
          {"FILE-LATER\n", file},
          {"FILE-PIECES\n", file + file}};
}

std::string reply_mode(const std::string& mode) {
  return "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$" + std::to_string(mode.size()) + "\r\n" + mode +
         "\r\n";
}

std::string ask(const Running& running, const std::string& sent) {
  Client client = running.client();
  client.send(sent);
  client.finish();
  return client.rest();
}

}  // namespace

TEST_CASE("a SKIP takes exactly one reply, in pieces or with files as any other") {
  Goods goods;
  const Running running(specs(goods));
  for (const Way& way : ways(goods)) {
    CAPTURE(way.line);
    CHECK(ask(running, reply_mode("SKIP") + way.line) == "");
    CHECK(ask(running, reply_mode("SKIP") + way.line + way.line) == way.reply);
    CHECK(ask(running, reply_mode("SKIP") + "IN 1\n" + way.line) == way.reply);
    CHECK(ask(running, "POOL 0\n" + reply_mode("SKIP") + way.line + "POOL 1\nIN 2\n" + way.line +
                           reply_mode("SKIP") + way.line + "POOL 3\n") ==
          "pooled 0\npooled 1\ninline 2\n" + way.reply + "pooled 3\n");
  }
}

TEST_CASE("OFF silences them all, until ON") {
  Goods goods;
  const Running running(specs(goods));
  for (const Way& way : ways(goods)) {
    CAPTURE(way.line);
    CHECK(ask(running, reply_mode("OFF") + way.line + way.line) == "");
    CHECK(ask(running, "IN 0\n" + reply_mode("OFF") + "POOL 1\n" + way.line + "IN 2\n" + way.line +
                           way.line + "nosuch\n" + reply_mode("ON") + way.line + "POOL 3\n" +
                           way.line) == "inline 0\n+OK\r\n" + way.reply + "pooled 3\n" + way.reply);
  }
}

TEST_CASE("one that comes alone is silenced before its batch is") {
  Goods goods;
  const Running running(specs(goods));
  for (const Way& way : ways(goods)) {
    CAPTURE(way.line);
    Client client = running.client();
    for (int i = 0; i < 3; ++i) {
      client.send(reply_mode("SKIP"));
      client.send(way.line);
      client.send("IN " + std::to_string(i) + "\n");
      CHECK(client.line() == "inline " + std::to_string(i) + "\n");
      client.send(way.line);
      CHECK(client.skip(way.reply.size()));
    }
    client.finish();
    CHECK(client.rest() == "");
  }
}

TEST_CASE("a raw request in pieces is silenced too") {
  Goods goods;
  const Running running(specs(goods));
  Client client = running.client();
  client.send(reply_mode("OFF") + "IN 0\n" + reply_mode("ON"));
  CHECK(client.line() == "+OK\r\n");
  client.send("RAW:1");
  CHECK(client.line() == "0;1;2;end\n");
  client.send(reply_mode("SKIP") + "RAW:2");
  client.finish();
  CHECK(client.rest() == "");
}

TEST_CASE("one without end is told that nobody reads it, which is no failure") {
  Goods goods;
  const Running running(specs(goods));
  for (const std::string line : {"COUNT-FOR-EVER\n", "LATER-FOR-EVER\n"}) {
    CAPTURE(line);
    CHECK(ask(running, reply_mode("SKIP") + line + "IN 1\nPOOL 2\n") == "inline 1\npooled 2\n");
    CHECK(ask(running, reply_mode("OFF") + line + line + reply_mode("ON") + "POOL 2\n") ==
          "+OK\r\npooled 2\n");
    CHECK_FALSE(contains(running.take_log(), "handler"));
  }
}

TEST_CASE("a silenced one that fails has sent nothing that could be half, and breaks nothing off") {
  Goods goods;
  const Running running(specs(goods));
  for (const std::string line :
       {"FAIL-MIDDLE\n", "FAIL-AT-ONCE\n", "FAIL-DROP\n", "FAIL-INLINE-DROP\n"}) {
    CAPTURE(line);
    CHECK(ask(running, reply_mode("SKIP") + line + "IN 1\nPOOL 2\n") == "inline 1\npooled 2\n");
    CHECK(ask(running, reply_mode("OFF") + line + "IN 1\n" + reply_mode("ON") + "POOL 2\n") ==
          "+OK\r\npooled 2\n");
    // One that fails behind a flush may do so because it was told that nobody reads it.
    const bool is_told = line == "FAIL-MIDDLE\n";
    CHECK(contains(running.take_log(), "the handler of 'FAIL-") != is_told);
  }
}

TEST_CASE("a protocol error is silenced as an answer is, and ends the connection") {
  Goods goods;
  const Running running(specs(goods));
  const std::string ping = "*1\r\n$4\r\nPING\r\n";
  for (const std::string bad : {"*x\r\n", "*1\r\nPING\r\n", "PING \"x\r\n", "RELOAD 'x\r\n"}) {
    CAPTURE(bad);
    CHECK(ask(running, reply_mode("OFF") + bad + ping) == "");
    CHECK(ask(running, reply_mode("SKIP") + bad + ping) == "");
    // Behind a batch, which is answered.
    CHECK(ask(running, "POOL 1\n" + reply_mode("OFF") + "POOL 2\n" + bad + ping) == "pooled 1\n");
    CHECK(ask(running, reply_mode("SKIP") + "POOL 1\nPOOL 2\n" + reply_mode("SKIP") + bad + ping) ==
          "pooled 2\n");
    const std::string said = ask(running, reply_mode("SKIP") + "POOL 1\n" + bad + ping);
    CHECK(said.substr(0, 21) == "-ERR Protocol error: ");
    CHECK(ask(running, reply_mode("OFF") + reply_mode("ON") + bad + ping) == "+OK\r\n" + said);
  }
}

TEST_CASE("nor is one who wants no answer told that a request did not come in time") {
  Goods goods;
  server::Options options;
  options.timeouts.head_ms = options.timeouts.body_ms = 1500;
  const Running running(specs(goods), options);
  const std::string halves[] = {"POOL 1", "*1\r\n$4\r\nPI"};
  std::vector<Client> silenced, skipped, heard;
  for (const std::string& half : halves) {
    silenced.push_back(running.client());
    silenced.back().send(reply_mode("OFF") + half);
    skipped.push_back(running.client());
    skipped.back().send(reply_mode("SKIP") + half);
    heard.push_back(running.client());
    heard.back().send(reply_mode("OFF") + reply_mode("ON") + half);
  }
  for (size_t i = 0; i < std::size(halves); ++i) {
    CAPTURE(halves[i]);
    CHECK(silenced[i].rest() == "");
    CHECK(skipped[i].rest() == "");
    CHECK(contains(heard[i].rest(), " in time"));
  }
}
