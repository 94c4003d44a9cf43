// The server with modules that take signals, and real signals.
#include "modules/signal_check.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "native_server.h"

using namespace hrmr;
using namespace hrmr::test;

namespace {

volatile std::sig_atomic_t caught = 0;

void catch_signal(int) { caught = caught + 1; }

// What SIGUSR1 does in this test; what it did before comes back behind it.
class OwnHandler {
 public:
  OwnHandler() {
    struct sigaction own {};
    own.sa_handler = catch_signal;
    ::sigaction(SIGUSR1, &own, &before_);
    caught = 0;
  }
  ~OwnHandler() { ::sigaction(SIGUSR1, &before_, nullptr); }
  OwnHandler(const OwnHandler&) = delete;
  OwnHandler& operator=(const OwnHandler&) = delete;

 private:
  struct sigaction before_ {};
};

bool is_default(int signal) {
  struct sigaction now {};
  return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_DFL;
}

const std::string& takes_signal(const char* version) {
  return compiled("signal_handler_in_request.c", {std::string("-DVERSION=\"") + version + "\""});
}

}  // namespace

TEST_CASE("takes back the signals that a load took, and says which") {
  const OwnHandler own;
  NativeServer running;
  running.put("signal_handler_in_load", compiled("signal_handler_in_load.c"));
  REQUIRE(running.reload("signal_handler_in_load") == "signal_handler_in_load loaded 1");
  CHECK(contains(running.log(), running.path("signal_handler_in_load") +
                                    " handled SIGUSR1, SIGUSR2: signals are the server's"));
  ::raise(SIGUSR1);
  CHECK(caught == 1);
  CHECK(is_default(SIGUSR2));
}

TEST_CASE("takes back a signal that a module took while it served, before its code goes") {
  const OwnHandler own;
  NativeServer running;
  const std::string name = "signal_handler_in_request";
  running.put(name, takes_signal("1"));
  running.reload(name);
  REQUIRE(running.ask("TAKE") == "taken by 1\n");
  // The next generation finds that handler, and must not take it for the server's.
  running.put(name, takes_signal("2"));
  running.reload(name);
  REQUIRE(running.logs("unloaded " + name + " generation 1"));
  CHECK(contains(running.log(), "module." + name + ": left a handler for SIGUSR1"));
  ::raise(SIGUSR1);
  CHECK(caught == 1);
  REQUIRE(running.ask("TAKE") == "taken by 2\n");
  running.remove(name);
  running.reload(name);
  REQUIRE(running.logs("unloaded " + name + " generation 2"));
  ::raise(SIGUSR1);
  CHECK(caught == 2);
}

TEST_CASE("says nothing of signals about a module that leaves them alone") {
  const OwnHandler own;
  NativeServer running;
  running.put("good", good_module("good", "1", "GOOD"));
  running.reload("good");
  running.remove("good");
  running.reload("good");
  REQUIRE(running.logs("unloaded good generation 1"));
  CHECK_FALSE(contains(running.log(), "signal"));
}

TEST_CASE("the process forks as before when a module with fork handlers is gone") {
  NativeServer running;
  running.put("fork_handlers", compiled("fork_handlers.c"));
  REQUIRE(running.reload("fork_handlers") == "fork_handlers loaded 1");
  running.remove("fork_handlers");
  running.reload("fork_handlers");
  REQUIRE(running.logs("unloaded fork_handlers generation 1"));
  CHECK_FALSE(contains(running.log(), "still mapped"));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(7);
  REQUIRE(child > 0);
  int result = 0;
  REQUIRE(::waitpid(child, &result, 0) == child);
  CHECK(WIFEXITED(result));
  CHECK(WEXITSTATUS(result) == 7);
}
