// The whole server with compiled modules that are traps: what they hand over and take along when
// their code goes.
#include "native_server.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <string>

using namespace hrmr;
using namespace hrmr::test;

namespace {

// A FIFO that keeps its reader waiting until the gate is opened.
class Gate {
 public:
  explicit Gate(std::string path) : path_(std::move(path)) {
    REQUIRE(::mkfifo(path_.c_str(), 0600) == 0);
  }
  ~Gate() { open(); }
  const std::string& path() const { return path_; }
  bool is_reached() {
    if (!writer_.is_open()) writer_ = Fd(::open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    return writer_.is_open();
  }
  void open() { writer_.reset(); }

 private:
  std::string path_;
  Fd writer_;
};

struct Door {
  std::mutex mutex;
  std::condition_variable changed;
  bool is_open = false;
  bool has_visitor = false;

  void open() {
    const std::lock_guard lock(mutex);
    is_open = true;
    changed.notify_all();
  }
  void await_visitor() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return has_visitor; });
  }
};

int wait_at_door(const hrmr_request* request, hrmr_reply* reply, void* context) {
  auto& door = *static_cast<Door*>(context);
  {
    std::unique_lock lock(door.mutex);
    door.has_visitor = true;
    door.changed.notify_all();
    door.changed.wait(lock, [&] { return door.is_open; });
  }
  return say(request, reply, const_cast<char*>("through"));
}

}  // namespace

TEST_CASE("keeps no text of a module's: each may be overwritten once it was handed over") {
  NativeServer running;
  running.put("scribbles", compiled("scribbles.c"));
  REQUIRE(running.reload("scribbles") == "scribbles loaded 1");
  CHECK(running.ask("SCRIBBLE") == "answer\n");
  CHECK(running.ask("SCRIBBLE and fail") == "ERR failure\n");
  Client http = running.client();
  http.send("GET /scribble HTTP/1.0\r\n\r\n");
  const std::string response = http.rest();
  CHECK(contains(response, "\r\nX-Scribbles: header\r\n"));
  CHECK(contains(response, "\r\n\r\nanswer\n"));
  // Its code and constants are gone before they are looked at.
  running.remove("scribbles");
  CHECK(running.reload("scribbles") == "scribbles removed 0");
  CHECK(running.logs("unloaded scribbles generation 1"));
  CHECK(contains(running.log(), "module.scribbles: record\n"));
  running.put("scribbles", compiled("scribbles.c", {"-DREFUSES"}));
  CHECK(running.reload("scribbles") == "scribbles failed 0");
  CHECK(contains(message_of(running.report, "scribbles"), "refusal"));
}

TEST_CASE("tells what a module threw after its code is gone") {
  NativeServer running;
  running.put("throws_own_type", compiled("throws_own_type.cpp"));
  CHECK(running.reload("throws_own_type") == "throws_own_type failed 0");
  CHECK(contains(message_of(running.report, "throws_own_type"), "a text of the module's own"));
}

TEST_CASE("unloads no code that a module's own thread is still inside of") {
  NativeServer running;
  for (int round = 0; round < 25; ++round) {
    for (const char* version : {"1", "2"}) {
      const std::string macro = std::string("-DVERSION=\"") + version + "\"";
      running.put("own_thread", compiled("own_thread.cpp", {"-fno-gnu-unique", macro}));
      const std::string outcome = running.reload("own_thread");
      REQUIRE(contains(outcome, round == 0 && version[0] == '1' ? "loaded" : "reloaded"));
      REQUIRE(running.ask("WORK") == std::string("done by ") + version + "\n");
    }
  }
  running.remove("own_thread");
  running.reload("own_thread");
  CHECK(running.logs("unloaded own_thread generation 50"));
}

TEST_CASE("a request that waits in the queue keeps its generation") {
  Door door;
  server::Options options;
  options.threads = 1;
  const Spec first{"FIRST", Run::kInline, say, "first"};
  const Spec waits{"WAIT", Run::kPool, wait_at_door, &door};
  NativeServer running({first, waits}, options);
  running.put("good", good_module("good", "1\\n", "GOOD", "QUEUED"));
  REQUIRE(running.reload("good") == "good loaded 1");
  Client waiting = running.client();
  waiting.send("WAIT\n");
  door.await_visitor();
  Client queued = running.client();
  queued.send("FIRST\nQUEUED\n");
  REQUIRE(queued.line() == "first\n");  // so the loop has seen what came with it
  running.put("good", good_module("good", "2\\n", "GOOD", "QUEUED"));
  REQUIRE(running.reload("good") == "good reloaded 2");
  running.remove("good");
  REQUIRE(running.reload("good") == "good removed 0");
  CHECK(running.logs("unloaded good generation 2"));
  CHECK_FALSE(contains(running.log(), "unloaded good generation 1"));
  door.open();
  CHECK(waiting.line() == "through\n");
  CHECK(queued.line() == "1\n");
  CHECK(running.logs("unloaded good generation 1"));
}

TEST_CASE("serves on while a constructor holds the lock of the loader") {
  NativeServer running;
  running.put("good", good_module("good", "1\\n", "GOOD", "QUEUED"));
  running.put("throws_in_handler", compiled("throws_in_handler.cpp", {"-fno-gnu-unique"}));
  running.server->reload({});
  Gate gate(running.folder / "gate");
  const std::string macro = "-DGATE=\"" + gate.path() + "\"";
  running.put("slow_constructor", compiled("slow_constructor.c", {macro}));
  Client reloading = running.client();
  reloading.send("RELOAD slow_constructor\n");
  REQUIRE(eventually([&] { return gate.is_reached(); }));
  CHECK(running.ask("GOOD") == "1\n");
  CHECK(running.ask("QUEUED") == "1\n");
  CHECK(running.ask("THROW") == "ERR thrown by a handler\n");
  CHECK(running.ask("NOBODY") == "ERR no route for 'NOBODY'\n");
  gate.open();
  CHECK(contains(reloading.line(), "loaded slow_constructor generation 1"));
}
