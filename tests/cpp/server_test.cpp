// The whole server over real sockets, without Python: threads, order, reload under load, shutdown.
// Run under the thread and address sanitizers, this is where races of the hall would show.
#include "server/server.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "eventually.h"
#include "running_server.h"

using namespace hrmr;
using namespace hrmr::test;

namespace {

int throw_up(const hrmr_request*, hrmr_reply* reply, void*) {
  server::host_table().write(reply, HRMR_BYTES("half an ans"));
  throw 42;
}

int set_bad_header(const hrmr_request*, hrmr_reply* reply, void*) {
  return server::host_table().header(reply, HRMR_BYTES("A"), HRMR_BYTES("b\nc"));
}

// As many bytes as the context says, and a line feed.
int say_much(const hrmr_request*, hrmr_reply* reply, void* context) {
  const std::string text(*static_cast<const size_t*>(context), 'x');
  return server::host_table().write(reply, bytes(text + "\n"));
}

// The kernel takes it all, though nobody reads.
constexpr size_t kMuchBytes = 2 * limits::kOutputHighBytes;
// More than both ends of a loopback connection take.
constexpr size_t kHugeBytes = 32 * limits::kOutputHighBytes;

struct Door {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_open = false;
  int waiting = 0;

  void open() {
    const std::lock_guard lock(mutex);
    is_open = true;
    changed.notify_all();
  }
  void await_visitors(int count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return waiting >= count; });
  }
};

int wait_at_door(const hrmr_request* request, hrmr_reply* reply, void* context) {
  auto& door = *static_cast<Door*>(context);
  {
    std::unique_lock lock(door.mutex);
    ++door.waiting;
    door.changed.notify_all();
    door.changed.wait(lock, [&] { return door.is_open; });
  }
  return say(request, reply, const_cast<char*>("through"));
}

const Spec kInline{"IN ", Run::kInline, say, "inline "};
const Spec kPooled{"POOL ", Run::kPool, say, "pooled "};
const Spec kThrows{"THROW", Run::kPool, throw_up, nullptr};

}  // namespace

TEST_CASE("answers pipelined inline, pool, unknown and failing requests in the order they came") {
  Running running({kInline, kPooled, kThrows});
  Client client = running.client();
  std::string sent;
  std::string expected;
  for (int i = 0; i < 500; ++i) {
    const std::string n = std::to_string(i);
    sent += "IN " + n + "\nPOOL " + n + "\nPOOL again" + n + "\nNOBODY\nTHROW\n";
    expected += "inline " + n + "\npooled " + n + "\npooled again" + n +
                "\nERR no route for 'NOBODY'\nERR module 'spec' failed\n";
  }
  std::thread sender([&] {
    client.send(sent);
    client.finish();
  });
  CHECK(client.rest() == expected);
  sender.join();
}

TEST_CASE("a call that the host refuses fails the reply and is named to client and log") {
  const Spec refused{"BAD", Run::kInline, set_bad_header, nullptr, modules::RouteFraming::kHttp};
  Running running({refused});
  Client client = running.client();
  client.send("BAD / HTTP/1.0\r\n\r\n");
  const std::string answer = client.rest();
  CHECK(answer.find("HTTP/1.1 500 ") == 0);
  CHECK(answer.find("\r\n\r\nmodule 'spec' failed: header 'A' was refused: it is not valid") !=
        std::string::npos);
  std::vector<LogRecord> records;
  CHECK(running.server->log().wait(records, 0));
  const auto names_it = [](const LogRecord& record) {
    return record.source == "module.spec" && record.message.find("header 'A'") != std::string::npos;
  };
  CHECK(std::count_if(records.begin(), records.end(), names_it) == 1);
}

TEST_CASE("every loop listens when start returns") {
  server::Options options;
  options.loops = 16;
  Running running({}, options);
  const size_t at_first = open_descriptors();
  running.reload();  // each loop has had a turn
  CHECK(open_descriptors() == at_first);
}

TEST_CASE("the program's own connection is no client's: not counted, not timed out, drained") {
  server::Options options;
  options.loops = 2;
  options.connections_max = 1;
  options.timeouts.idle_ms = options.timeouts.head_ms = 20;
  Running running({{"IN ", Run::kInline, say, "in "}, {"POOL ", Run::kPool, say, "pool "}},
                  options);
  Client first(running.connect());
  Client second(running.connect());
  Client guest = running.client();
  guest.send("IN guest\n");
  CHECK(guest.line() == "in guest\n");
  CHECK(guest.rest() == "");  // timed out, later than the others would have been
  for (Client* own : {&first, &second}) {
    own->send("IN 1\nPOOL 2\n");
    CHECK(own->line() == "in 1\n");
    CHECK(own->line() == "pool 2\n");
  }
  running.server->begin_shutdown();
  CHECK(first.rest() == "");
  CHECK(second.rest() == "");
  CHECK(eventually([&] { return !running.connect().is_open(); }));  // once it has drained
}

TEST_CASE("gives the same answers one byte at a time") {
  Running running({kInline, kPooled});
  Client client = running.client();
  for (const char c : std::string("IN a\r\nPOOL b\n\r\nIN c\nCLOSE\n")) {
    client.send(std::string_view(&c, 1));
  }
  CHECK(client.rest() == "inline a\npooled b\ninline c\n");
}

TEST_CASE(
    "answers large pipelined pool requests in order, and a peer that leaves midway harms none") {
  const Spec much{"MUCH", Run::kPool, say_much, &kMuchBytes};
  Running running({much, kPooled, kInline});
  Client client = running.client();
  client.send("MUCH\nPOOL 1\nMUCH\nMUCH\nPOOL 2\nIN 3\n");
  client.finish();
  const std::string large(kMuchBytes, 'x');
  CHECK(client.line() == large + "\n");
  CHECK(client.line() == "pooled 1\n");
  {
    Client leaves = running.client();
    leaves.send("MUCH\nMUCH\nMUCH\nIN 3\n");
    leaves.line();
  }
  CHECK(client.line() == large + "\n");
  CHECK(client.line() == large + "\n");
  CHECK(client.rest() == "pooled 2\ninline 3\n");
}

TEST_CASE(
    "a request parked behind a large reply keeps its bytes, and its module when the peer leaves") {
  const Spec much{"MUCH", Run::kPython, say_much, &kHugeBytes};
  Running running({much, kPooled, kInline});
  const std::string mine(200, 'm');
  const std::string theirs(200, 't');
  for (const bool leaves : {false, true}) {
    Client client = running.client();
    // Another pool than that of the first: it has to wait for it, and its batch for the peer.
    client.send("MUCH\nPOOL " + mine + "\n");
    client.finish();
    client.await_answer();
    for (int i = 0; i < 50; ++i) {
      Client other = running.client();
      other.send("IN " + theirs + "\n");
      CHECK(other.line() == "inline " + theirs + "\n");
    }
    if (leaves) break;
    CHECK(client.line().size() == kHugeBytes + 1);
    CHECK(client.rest() == "pooled " + mine + "\n");
  }
  running.reload({kInline});
  CHECK(eventually([&] { return running.loader->unloads == 1; }));
}

TEST_CASE("a shutdown cuts no answer short that the peer has not read yet") {
  const Spec much{"MUCH", Run::kPool, say_much, &kMuchBytes};
  Running running({much, kInline});
  Client slow = running.client();
  slow.send("MUCH\n");
  slow.await_answer();
  Client admin = running.client();
  admin.send("IN x\nSHUTDOWN\n");
  CHECK(admin.rest() == "inline x\nOK shutting down\n");
  slow.send("IN too late\n");
  CHECK(slow.line().size() == kMuchBytes + 1);
}

TEST_CASE("only a prefix longer than the word takes a built-in command's line") {
  const Spec shorter{"RE", Run::kInline, say, "short "};
  const Spec longer{"RELOAD THE GUN", Run::kInline, say, "long"};
  Running running({shorter, longer});
  Client client = running.client();
  client.send("RELOAD nobody\nRELOAD THE GUN\nREAD\n");
  client.finish();
  CHECK(client.line().rfind("failed nobody: ", 0) == 0);
  CHECK(client.line().rfind("ERR ", 0) == 0);
  CHECK(client.rest() == "long\nshort AD\n");
}

TEST_CASE("refuses with 503 when the queue is full, in order, and recovers") {
  Door door;
  const Spec waits{"WAIT", Run::kPool, wait_at_door, &door};
  server::Options options;
  options.threads = 1;
  options.queue_slots = 2;
  Running running({kPooled, kInline, waits}, options);
  std::vector<Client> blocked;
  blocked.push_back(running.client());
  blocked.back().send("WAIT\n");
  door.await_visitors(1);
  for (int i = 0; i < 2; ++i) {
    blocked.push_back(running.client());
    blocked.back().send("IN x\nPOOL y\n");
    CHECK(blocked.back().line() == "inline x\n");
  }
  Client refused = running.client();
  refused.send("POOL z\n");
  CHECK(refused.line() == "503 overloaded: the queue is full, try again\n");
  door.open();
  CHECK(blocked[0].line() == "through\n");
  CHECK(blocked[1].line() == "pooled y\n");
  CHECK(blocked[2].line() == "pooled y\n");
  refused.send("POOL z\n");
  CHECK(refused.line() == "pooled z\n");
}

TEST_CASE("lets a request finish on the generation it began with, and unloads that one then") {
  Door door;
  const Spec waits{"WAIT", Run::kPool, wait_at_door, &door};
  const Spec newer{"WAIT", Run::kPool, say, "newer"};
  Running running({waits});
  Client old_client = running.client();
  old_client.send("WAIT\n");
  door.await_visitors(1);
  running.reload({newer});
  Client new_client = running.client();
  new_client.send("WAIT\n");
  CHECK(new_client.line() == "newer\n");
  CHECK(running.loader->unloads == 0);
  door.open();
  CHECK(old_client.line() == "through\n");
  CHECK(eventually([&] { return running.loader->unloads == 1; }));
}

TEST_CASE("loses and tears no answer while modules are replaced under load on two loops") {
  server::Options options;
  options.loops = 2;
  Running running({kInline, kPooled}, options);
  std::atomic<bool> is_over{false};
  std::atomic<int> wrong{0};
  std::atomic<int> answered{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      Client client = running.client();
      while (!is_over) {
        client.send("IN 1\nPOOL 2\nPOOL 3\n");
        if (client.line() != "inline 1\n") ++wrong;
        if (client.line() != "pooled 2\n") ++wrong;
        if (client.line() != "pooled 3\n") ++wrong;
        answered += 3;
      }
    });
  }
  for (int i = 0; i < 200; ++i) running.reload({kInline, kPooled});
  while (answered < 100) std::this_thread::yield();
  is_over = true;
  for (std::thread& client : clients) client.join();
  CHECK(wrong == 0);
}

TEST_CASE("SHUTDOWN answers what is in flight, refuses what is new, and says when it is done") {
  Door door;
  const Spec waits{"WAIT", Run::kPool, wait_at_door, &door};
  Running running({waits, kInline});
  Client idle = running.client();
  idle.send("IN x\n");
  CHECK(idle.line() == "inline x\n");
  Client busy = running.client();
  busy.send("WAIT\nIN behind\n");
  door.await_visitors(1);
  Client admin = running.client();
  admin.send("SHUTDOWN\n");
  CHECK(admin.rest() == "OK shutting down\n");
  CHECK(idle.rest().empty());
  pollfd stopped{running.server->stopped_fd(), POLLIN, 0};
  CHECK(::poll(&stopped, 1, 0) == 0);
  door.open();
  CHECK(busy.rest() == "through\ninline behind\n");
  CHECK(::poll(&stopped, 1, 20'000) == 1);
}

TEST_CASE("stop reports a handler that outlives the drain timeout, and works once it has ended") {
  Door door;
  const Spec waits{"WAIT", Run::kPool, wait_at_door, &door};
  server::Options options;
  options.drain_timeout_ms = 1;
  Running running({waits}, options);
  Client client = running.client();
  client.send("WAIT\n");
  door.await_visitors(1);
  CHECK_FALSE(running.server->stop());
  CHECK(client.rest().empty());
  door.open();
}

TEST_CASE("stop has its bound when a loop is stuck in an inline handler") {
  Door door;
  const Spec waits{"WAIT", Run::kInline, wait_at_door, &door};
  server::Options options;
  options.drain_timeout_ms = 1;
  Running running({waits}, options);
  Client client = running.client();
  client.send("WAIT\n");
  door.await_visitors(1);
  CHECK_FALSE(running.server->stop());
  door.open();
}

TEST_CASE("urgent bytes do not stall what is queued behind them") {
  Running running({kInline});
  Client client = running.client();
  for (int i = 0; i < 20; ++i) {
    client.send("IN a\n");
    client.send_urgent('!');
    client.send("IN b\n");
    CHECK(client.line() == "inline a\n");
    CHECK(client.line() == "inline b\n");
  }
}

TEST_CASE("a connection that spoke HTTP is never read as commands again") {
  const Spec post{"POST ", Run::kInline, say, "ok", modules::RouteFraming::kHttp};
  Running running({post, kInline});
  Client client = running.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nSHUTDOWN\nSHUTDOWN\n\r\n");
  const std::string answers = client.rest();
  CHECK(answers.find("HTTP/1.1 200 OK\r\n") == 0);
  CHECK(answers.find("HTTP/1.1 400 ") != std::string::npos);
  Client other = running.client();
  other.send("IN still here\n");
  CHECK(other.line() == "inline still here\n");
}

TEST_CASE("RELOAD keeps its place between requests") {
  Running running({kInline, kPooled});
  Client client = running.client();
  client.send("POOL 1\nRELOAD\nIN 2\nCLOSE\n");
  const std::string answers = client.rest();
  CHECK(answers.find("pooled 1\n") == 0);
  const size_t reloaded = answers.find("\nOK ");
  REQUIRE(reloaded != std::string::npos);
  CHECK(answers.find("inline 2\n") > reloaded);
}

TEST_CASE("a RELOAD whose answer is larger than a reply may be is answered with an error") {
  server::Options options;
  options.reply_bytes_max = 50;
  const Running running({{"IN", Run::kInline, say, "in"}}, options);
  const std::string refused = "the answer is larger than reply_max (--reply-max)";
  Client redis = running.client();
  redis.send("*1\r\n$6\r\nRELOAD\r\n*1\r\n$4\r\nPING\r\n");
  CHECK(redis.line() == "-ERR " + refused + "\r\n");
  CHECK(redis.line() == "+PONG\r\n");
  Client http = running.client();
  http.send("POST /hrmr/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  const std::string answer = http.rest();
  CHECK(answer.find("HTTP/1.1 500 ") == 0);
  CHECK(answer.find("\r\n\r\n" + refused + "\n") != std::string::npos);
}

TEST_CASE("a bare RELOAD without a newline is answered") {
  Running running({kInline});
  Client client = running.client();
  client.send("RELOAD");
  std::string line;
  do {
    line = client.line();
  } while (!line.empty() && line.rfind("OK ", 0) != 0);
  CHECK(line.rfind("OK ", 0) == 0);
}
