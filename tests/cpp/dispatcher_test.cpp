// The dispatcher alone, on a stream without a socket.
#include "server/dispatcher.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

using namespace hrmr;
using namespace hrmr::server;

namespace {

struct NoOwner final : StreamOwner {
  void on_batch_done(Batch&) override {}
  void on_deferred_done(std::unique_ptr<Deferred>) override {}
  void on_piece(Piece&) override {}
  void on_command_done(std::string_view) override {}
  void on_hold_over(bool) override {}
};

// Notes what it is asked for and does none of it.
struct NotingControl final : Control {
  void reload(std::vector<std::string>, std::function<void(std::string)>) override { ++reloads; }
  void begin_shutdown() override { ++shutdowns; }
  work::WorkerPool& pool(modules::Run) override { return unused_pool; }
  void let_go(modules::Module*) override {}
  void drained(modules::Module*) override {}
  Log& log() override { return own_log; }

  int reloads = 0;
  int shutdowns = 0;
  Log own_log;
  work::WorkerPool unused_pool{work::PoolOptions{"unused", 1, 2}, std::make_unique<work::Crew>()};
};

struct Bench {
  explicit Bench(Options given = {}) : options(std::move(given)) { stream.owner = &owner; }

  Step send(std::string_view bytes) {
    stream.input.append(bytes);
    return dispatcher.next(stream);
  }

  Options options;
  net::EventLoop loop{0};
  NotingControl control;
  NoOwner owner;
  Dispatcher dispatcher{options, loop, control};
  Stream stream;
};

}  // namespace

TEST_CASE("RELOAD and SHUTDOWN from another machine are refused, CLOSE is not") {
  Bench bench;
  bench.stream.peer.is_local = false;
  CHECK(bench.send("RELOAD\n") == Step::kDone);
  CHECK(bench.send("SHUTDOWN\n") == Step::kDone);
  CHECK(bench.control.reloads + bench.control.shutdowns == 0);
  CHECK(bench.stream.output.view() ==
        "ERR RELOAD is taken from this machine only; to take it from anywhere, start hrmr with "
        "--admin any\n"
        "ERR SHUTDOWN is taken from this machine only; to take it from anywhere, start hrmr with "
        "--admin any\n");
  CHECK(bench.send("CLOSE\n") == Step::kClosing);
}

TEST_CASE("with --admin any, and from this machine, they are taken") {
  for (const bool is_local : {false, true}) {
    Options options;
    options.admin.from_anywhere = !is_local;
    Bench bench(options);
    bench.stream.peer.is_local = is_local;
    CHECK(bench.send("SHUTDOWN\n") == Step::kClosing);
    CHECK(bench.control.shutdowns == 1);
  }
}

TEST_CASE("a bare word is a command only after its quiet, and only alone") {
  Bench bench;
  bench.stream.peer.is_local = true;
  CHECK(bench.send("SHUT") == Step::kNeedMore);
  CHECK(bench.send("DOWN") == Step::kBareCommand);
  CHECK(bench.control.shutdowns == 0);
  CHECK(bench.dispatcher.run_bare_command(bench.stream) == Step::kClosing);
  CHECK(bench.control.shutdowns == 1);
}

TEST_CASE("an empty line that comes in two parts does not choose the protocol of what follows") {
  for (const std::string before : {"", "PING\r\n", "*1\r\n$4\r\nPING\r\n"}) {
    CAPTURE(before);
    Bench bench;
    std::string answers;
    if (!before.empty()) {
      CHECK(bench.send(before) == Step::kDone);
      answers = "+PONG\r\n";
    }
    CHECK(bench.send("\r") == Step::kNeedMore);
    CHECK(bench.send("\n*1\r\n$4\r\nPING\r\n") == Step::kDone);
    CHECK(bench.stream.output.view() == answers + "+PONG\r\n");
    CHECK(bench.send("\r") == Step::kNeedMore);
    CHECK(bench.send("ECHO 1\n") == Step::kDone);
    CHECK(bench.stream.output.view() == answers + "+PONG\r\n$1\r\n1\r\n");
  }
}

TEST_CASE("AUTH opens the built-in commands, wrong ones close at the third") {
  Options options;
  options.admin.token = "0123456789abcdef";
  Bench bench(options);
  bench.stream.peer.is_local = true;
  CHECK(bench.send("SHUTDOWN\n") == Step::kDone);
  CHECK(bench.send("AUTH 0123456789abcdeX\n") == Step::kDone);
  CHECK(bench.send("AUTH root 0123456789abcdef\n") == Step::kDone);
  CHECK(bench.control.shutdowns == 0);
  SUBCASE("the right one") {
    CHECK(bench.send("AUTH default 0123456789abcdef\n") == Step::kDone);
    CHECK(bench.send("SHUTDOWN\n") == Step::kClosing);
    CHECK(bench.control.shutdowns == 1);
  }
  SUBCASE("a third wrong one") {
    CHECK(bench.send("AUTH x\n") == Step::kClosing);
    CHECK(bench.stream.closes);
  }
  std::vector<LogRecord> records;
  bench.control.own_log.wait(records, 0);
  REQUIRE_FALSE(records.empty());
  for (const LogRecord& record : records) {
    CHECK(record.message.find("a wrong admin token from") == 0);
    CHECK(record.message.find("0123456789abcde") == std::string::npos);
  }
}

TEST_CASE("POST /hrmr/shutdown is SHUTDOWN, for the same peers") {
  for (const bool is_local : {false, true}) {
    Bench bench;
    bench.stream.peer.is_local = is_local;
    CHECK(
        bench.send("POST /hrmr/shutdown HTTP/1.1\r\nHost: 10.0.0.5\r\nContent-Length: 0\r\n\r\n") ==
        Step::kClosing);
    CHECK(bench.control.shutdowns == (is_local ? 1 : 0));
    CHECK(bench.stream.output.view().substr(9, 3) == (is_local ? "200" : "403"));
  }
}

TEST_CASE("a request that did not come in time is answered in the protocol that it began") {
  const std::pair<const char*, const char*> cases[] = {
      {"GET / HT", "HTTP/1.1 408 "},
      {"GET / HTTP/1.1\r\nHost: a\r\nX", "HTTP/1.1 408 "},
      {"GET SOMETHING", "ERR timeout: "},
      {"hello", "ERR timeout: "},
  };
  for (const auto& [sent, answer] : cases) {
    CAPTURE(sent);
    Bench bench;
    CHECK(bench.send(sent) == Step::kNeedMore);
    bench.dispatcher.time_out(bench.stream, false);
    CHECK(bench.stream.closes);
    CHECK(bench.stream.output.view().substr(0, std::string_view(answer).size()) == answer);
  }
}
