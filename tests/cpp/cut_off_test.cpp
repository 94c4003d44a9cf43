// An answer that is cut off in its middle, over real sockets. Where its end is the connection's
// (HTTP/1.0 in pieces, lines), the connection must end in a reset: after a clean end half would
// look whole. Where it is sent in chunks, the last one must not come.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>

#include "eventually.h"
#include "module_gallery.h"
#include "running_server.h"

using namespace hrmr;
using namespace hrmr::test;
using modules::RouteFraming;

namespace {

constexpr uint32_t kPatientMs = 20'000;
constexpr const char* kLastChunk = "\r\n0\r\n\r\n";
// More than the kernel's buffers between two sockets hold.
constexpr size_t kFileBytes = 16 * 1024 * 1024;

const hrmr_host& host() { return server::host_table(); }

// A file, and what the handlers below wait for.
struct Stage {
  Stage() {
    write_file(path(), std::string(kFileBytes, 'f'));
    fd = Fd(::open(path().c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(fd.is_open());
  }
  std::string path() const { return folder / "file"; }
  void shorten() const { REQUIRE(::truncate(path().c_str(), 9 * 1024 * 1024) == 0); }

  TempFolder folder;
  Fd fd;
  std::atomic<bool> may_end{false};
};

int begin(hrmr_reply* reply) {
  host().stream(reply, -1);
  host().write(reply, HRMR_BYTES("half\n"));
  return host().flush(reply, kPatientMs);
}

int be_whole(const hrmr_request*, hrmr_reply* reply, void*) {
  begin(reply);
  return host().write(reply, HRMR_BYTES("whole\n"));
}
int say_failed(const hrmr_request*, hrmr_reply* reply, void*) {
  begin(reply);
  return host().fail(reply, 500, HRMR_BYTES("broken"));
}
int return_failed(const hrmr_request*, hrmr_reply* reply, void*) {
  begin(reply);
  return HRMR_FAILED;
}
int throw_in_the_middle(const hrmr_request*, hrmr_reply* reply, void*) {
  begin(reply);
  throw 42;
}
int wait_in_the_middle(const hrmr_request*, hrmr_reply* reply, void* context) {
  const auto& stage = *static_cast<Stage*>(context);
  begin(reply);
  return eventually([&] { return stage.may_end.load(); }) ? HRMR_OK : HRMR_FAILED;
}
int wait_elsewhere(const hrmr_request*, hrmr_reply* reply, void* context) {
  const auto& stage = *static_cast<Stage*>(context);
  hrmr_reply* deferred = host().defer(reply);
  handler_threads.start([deferred, &stage] {
    begin(deferred);
    CHECK(eventually([&] { return stage.may_end.load(); }));
    host().complete(deferred);
  });
  return HRMR_OK;
}

int send_file(const hrmr_request*, hrmr_reply* reply, void* context) {
  return host().send_file(reply, static_cast<Stage*>(context)->fd.get(), 0, kFileBytes);
}
int stream_file(const hrmr_request* request, hrmr_reply* reply, void* context) {
  begin(reply);
  return send_file(request, reply, context);
}

std::vector<Spec> specs(Stage& stage) {
  return {{"GET /whole", Run::kPool, be_whole, nullptr, RouteFraming::kHttp},
          {"GET /failed", Run::kPool, say_failed, nullptr, RouteFraming::kHttp},
          {"GET /returned", Run::kPool, return_failed, nullptr, RouteFraming::kHttp},
          {"GET /thrown", Run::kPool, throw_in_the_middle, nullptr, RouteFraming::kHttp},
          {"GET /dropped", Run::kPool, drop_midway, nullptr, RouteFraming::kHttp},
          {"GET /inlinedropped", Run::kInline, drop_midway, nullptr, RouteFraming::kHttp},
          {"GET /wait", Run::kPool, wait_in_the_middle, &stage, RouteFraming::kHttp},
          {"GET /elsewhere", Run::kInline, wait_elsewhere, &stage, RouteFraming::kHttp},
          {"GET /file", Run::kInline, send_file, &stage, RouteFraming::kHttp},
          {"GET /pieces", Run::kPool, stream_file, &stage, RouteFraming::kHttp},
          {"GET /ping", Run::kPool, say, "pong", RouteFraming::kHttp},
          {"WAIT", Run::kPool, wait_in_the_middle, &stage},
          {"FILE", Run::kInline, send_file, &stage}};
}

// "/path 1.0": to that version; what is no path is a line, of a client that then sends no more.
void send(Client& client, const std::string& what) {
  if (what[0] == '/') {
    const size_t space = what.find(' ');
    client.send("GET " + what.substr(0, space) + " HTTP/" + what.substr(space + 1) +
                "\r\nHost: h\r\n\r\n");
  } else {
    client.send(what + "\n");
    client.finish();
  }
}

struct Ended {
  std::string text;
  int error = 0;  // 0: as an answer ends that is whole
};

Ended read_to_end(Client& client) {
  Ended ended;
  std::string room(64 * 1024, '\0');
  ssize_t got = 0;
  while ((got = client.read_into(room.data(), room.size())) > 0) {
    ended.text.append(room, 0, static_cast<size_t>(got));
  }
  if (got != 0) ended.error = errno;
  return ended;
}

Ended ask(const Running& running, const std::string& what) {
  Client client = running.client();
  send(client, what);
  return read_to_end(client);
}

void check_is_cut(const Ended& ended, const std::string& what) {
  const bool is_chunked = contains(what, " 1.1");
  CHECK_FALSE(contains(ended.text, kLastChunk));
  if (!is_chunked) CHECK(ended.error == ECONNRESET);
}

}  // namespace

TEST_CASE("what is whole ends cleanly, in chunks or with the connection") {
  Stage stage;
  const Running running(specs(stage));
  const Ended old = ask(running, "/whole 1.0");
  CHECK(old.error == 0);
  CHECK(old.text.substr(old.text.find("\r\n\r\n")) == "\r\n\r\nhalf\nwhole\n");
  Client client = running.client();
  client.send("GET /whole HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const Ended chunked = read_to_end(client);
  CHECK(chunked.error == 0);
  CHECK(contains(chunked.text, kLastChunk));
  CHECK(ask(running, "FILE").text.size() == kFileBytes);
}

TEST_CASE("a handler that fails in the middle of its answer cuts it off") {
  Stage stage;
  const Running running(specs(stage));
  for (const std::string how : {"/failed", "/returned", "/thrown", "/dropped", "/inlinedropped"}) {
    for (const std::string version : {" 1.0", " 1.1"}) {
      const std::string what = how + version;
      CAPTURE(what);
      check_is_cut(ask(running, what), what);
    }
  }
}

TEST_CASE("a file that has become shorter cuts its answer off") {
  for (const std::string what : {"/pieces 1.0", "/pieces 1.1", "/file 1.0", "/file 1.1", "FILE"}) {
    CAPTURE(what);
    Stage stage;
    const Running running(specs(stage));
    Client client = running.client();
    send(client, what);
    REQUIRE(client.skip(64 * 1024));  // the file is on its way
    stage.shorten();
    const Ended ended = read_to_end(client);
    CHECK(ended.text.size() < kFileBytes - 64 * 1024);
    check_is_cut(ended, what);
  }
}

TEST_CASE("a drain that is over cuts off the answer that a handler still writes") {
  for (const std::string what :
       {"/wait 1.0", "/wait 1.1", "/elsewhere 1.0", "/elsewhere 1.1", "WAIT"}) {
    CAPTURE(what);
    Stage stage;
    server::Options options;
    options.drain_timeout_ms = 50;
    const Running running(specs(stage), options);
    Client client = running.client();
    send(client, what);
    while (client.line() != "half\n") {
    }
    running.server->begin_shutdown();
    const Ended ended = read_to_end(client);
    stage.may_end = true;
    handler_threads.join_all();  // as a module does in unload
    CHECK(ended.text.size() < 5);
    check_is_cut(ended, what);
  }
}

TEST_CASE("a drain that is over cuts off the answer that its client has not read") {
  for (const std::string what : {"/pieces 1.0", "/pieces 1.1", "FILE"}) {
    CAPTURE(what);
    Stage stage;
    server::Options options;
    options.drain_timeout_ms = 50;
    options.threads = 1;
    const Running running(specs(stage), options);
    Client client = running.client();
    send(client, what);
    client.await_answer();
    // The one worker is through with it: all of the answer waits at the loop.
    Client other = running.client();
    other.send("GET /ping HTTP/1.1\r\nHost: h\r\n\r\n");
    other.await_answer();
    running.server->begin_shutdown();
    other.rest();
    pollfd stopped{running.server->stopped_fd(), POLLIN, 0};
    REQUIRE(::poll(&stopped, 1, static_cast<int>(kPatienceMs)) == 1);
    const Ended ended = read_to_end(client);
    CHECK(ended.text.size() < kFileBytes);
    check_is_cut(ended, what);
  }
}

TEST_CASE("a line's file is cut with a reset also where commands came before it") {
  Stage stage;
  const Running running(specs(stage));
  Client client = running.client();
  client.send("*1\r\n$4\r\nPING\r\n");
  CHECK(client.line() == "+PONG\r\n");
  send(client, "FILE");
  REQUIRE(client.skip(64 * 1024));
  stage.shorten();
  CHECK(read_to_end(client).error == ECONNRESET);
}
