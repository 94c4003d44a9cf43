#include "base/crash_signals.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/alternate_stack.h"
#include "base/call_site.h"
#include "base/limits.h"
#include "base/signal_text.h"

namespace hrmr {
namespace {

using Handler = void (*)(int, siginfo_t*, void*);

struct sigaction action_of(int signal) {
  struct sigaction now {};
  REQUIRE(::sigaction(signal, nullptr, &now) == 0);
  return now;
}

Handler handler_of(int signal) { return action_of(signal).sa_sigaction; }

void somebody_elses(int, siginfo_t*, void*) {}

std::string written(const std::function<void(SignalText&)>& write) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  {
    SignalText out(ends[1]);
    write(out);
  }
  ::close(ends[1]);
  std::string text(1 << 16, '\0');
  const ssize_t got = ::read(ends[0], text.data(), text.size());
  ::close(ends[0]);
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

TEST_CASE("handlers are there as long as any user, and then as before") {
  const Handler before = handler_of(SIGSEGV);
  const std::terminate_handler terminate_before = std::get_terminate();
  auto first = std::make_unique<CrashSignals>();
  const Handler ours = handler_of(SIGSEGV);
  CHECK((ours != before));
  CHECK((handler_of(SIGABRT) == ours));
  auto second = std::make_unique<CrashSignals>();
  first.reset();
  CHECK((handler_of(SIGSEGV) == ours));
  second.reset();
  CHECK((handler_of(SIGSEGV) == before));
  CHECK((std::get_terminate() == terminate_before));
}

TEST_CASE("handlers that others have put over ours stay") {
  struct sigaction theirs {};
  theirs.sa_sigaction = somebody_elses;
  theirs.sa_flags = SA_SIGINFO;
  struct sigaction replaced {};
  const Handler before = handler_of(SIGBUS);
  auto signals = std::make_unique<CrashSignals>();
  REQUIRE(::sigaction(SIGFPE, &theirs, &replaced) == 0);
  signals.reset();
  CHECK((handler_of(SIGFPE) == somebody_elses));
  CHECK((handler_of(SIGBUS) == before));
  // They put back what they had found, which is ours; the next user is not its own predecessor.
  REQUIRE(::sigaction(SIGFPE, &replaced, nullptr) == 0);
  signals = std::make_unique<CrashSignals>();
  signals.reset();
  CHECK((handler_of(SIGFPE) != replaced.sa_sigaction));
}

TEST_CASE("a call is known as long as its scope, and then the one around it") {
  CHECK(current_call == nullptr);
  {
    const CallScope outer({"users", 3, "GET /", true, 12});
    {
      const CallScope inner({"users", 4, "load"});
      CHECK(current_call->what == "load");
      CHECK(current_call->generation == 4);
      CHECK_FALSE(current_call->is_route);
    }
    REQUIRE(current_call != nullptr);
    CHECK(current_call->what == "GET /");
    CHECK(current_call->request_bytes == 12);
    std::thread([] { CHECK(current_call == nullptr); }).join();
  }
  CHECK(current_call == nullptr);
}

TEST_CASE("a thread has its alternate stack while it lives, and then the one before") {
  std::thread([] {
    stack_t before{};
    stack_t now{};
    REQUIRE(::sigaltstack(nullptr, &before) == 0);
    {
      const AlternateStack stack;
      REQUIRE(::sigaltstack(nullptr, &now) == 0);
      CHECK(now.ss_flags == 0);
      CHECK(now.ss_size == limits::kAlternateStackBytes);
      static_cast<char*>(now.ss_sp)[0] = 1;
      static_cast<char*>(now.ss_sp)[now.ss_size - 1] = 1;
    }
    REQUIRE(::sigaltstack(nullptr, &now) == 0);
    CHECK(now.ss_flags == before.ss_flags);
    CHECK(now.ss_sp == before.ss_sp);
  }).join();
}

TEST_CASE("numbers and texts of a report") {
  CHECK(written([](SignalText& out) { out.number(0).text(" ").number(UINT64_MAX); }) ==
        "0 18446744073709551615");
  CHECK(written([](SignalText& out) {
          out.hex(0).text(" ").hex(0x7f12a0).text(" ").hex(UINT64_MAX);
        }) == "0x0 0x7f12a0 0xffffffffffffffff");
  CHECK(written([](SignalText& out) { out.shown("GET /\x1b[1m\n\xc3\xa4 ~"); }) ==
        "GET /\\x1b[1m\\x0a\\xc3\\xa4 ~");
}

TEST_CASE("a text longer than the room is written in parts") {
  const std::string large(10'000, 'x');
  CHECK(written([&](SignalText& out) { out.text(large).text("end"); }) == large + "end");
}

}  // namespace
}  // namespace hrmr
