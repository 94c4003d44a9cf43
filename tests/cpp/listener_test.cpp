#include "net/listener.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "eventually.h"

namespace {

using namespace hrmr::net;
using hrmr::Fd;
using hrmr::Log;
using hrmr::LogRecord;
using hrmr::Result;
using hrmr::test::kPatienceMs;

struct TestTimer final : Timer {
  void on_timer() override { then(); }
  std::function<void()> then;
};

// A listener on a loop that runs on the test's thread until the condition of run_until holds.
struct Acceptor final : AcceptHandler {
  explicit Acceptor(const Address& address = {.host = "127.0.0.1"}) {
    REQUIRE(loop.open().is_ok());
    Result<Fd> listening = open_listening_socket(address, true);
    REQUIRE(listening.is_ok());
    port = bound_port(listening.value().get());
    REQUIRE(port != 0);
    REQUIRE(listener.attach(listening.take()).is_ok());
  }
  void on_accepted(Fd fd, const Peer& peer) override {
    names.emplace_back(peer.name, peer.name_size);
    accepted.push_back(std::move(fd));
    if (then) then();
  }
  // Runs the loop once; a loop does not run twice.
  bool run_until(const std::function<bool()>& condition) {
    bool holds = false;
    const uint64_t end_ms = hrmr::monotonic_ms() + kPatienceMs;
    TestTimer look;
    look.then = [&] {
      holds = condition();
      if (holds || hrmr::monotonic_ms() > end_ms) return loop.stop();
      loop.timers().arm(look, 10);
    };
    loop.timers().arm(look, 0);
    loop.run();
    return holds;
  }
  std::vector<LogRecord> logged() {
    std::vector<LogRecord> records;
    log.wait(records, 0);
    return records;
  }
  EventLoop loop{0};
  Log log;
  Listener listener{loop, log, *this};
  uint16_t port = 0;
  std::vector<Fd> accepted;
  std::vector<std::string> names;
  std::function<void()> then;
};

sockaddr_storage address_of(const char* host, uint16_t port) {
  sockaddr_storage storage{};
  auto& ip4 = reinterpret_cast<sockaddr_in&>(storage);
  auto& ip6 = reinterpret_cast<sockaddr_in6&>(storage);
  if (inet_pton(AF_INET, host, &ip4.sin_addr) == 1) {
    storage.ss_family = AF_INET;
    ip4.sin_port = htons(port);
  } else {
    REQUIRE(inet_pton(AF_INET6, host, &ip6.sin6_addr) == 1);
    storage.ss_family = AF_INET6;
    ip6.sin6_port = htons(port);
  }
  return storage;
}

Fd connect_to(const char* host, uint16_t port) {
  const sockaddr_storage address = address_of(host, port);
  Fd fd(::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(fd.is_open());
  REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  return fd;
}

uint16_t own_port(const Fd& fd) { return bound_port(fd.get()); }

bool is_closed_by_peer(const Fd& fd) {
  pollfd poll_for{.fd = fd.get(), .events = POLLIN, .revents = 0};
  if (::poll(&poll_for, 1, 0) <= 0) return false;
  char byte = 0;
  return ::read(fd.get(), &byte, 1) <= 0;
}

int count(const std::vector<LogRecord>& records, std::string_view text) {
  int found = 0;
  for (const LogRecord& record : records) {
    found += record.message.find(text) != std::string::npos ? 1 : 0;
  }
  return found;
}

bool has_ip6() { return open_listening_socket({.host = "::1"}, false).is_ok(); }

// Takes every descriptor this process may have, and gives all back at its end.
class NoDescriptorsLeft {
 public:
  NoDescriptorsLeft() {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    rlimit lowered = before_;
    lowered.rlim_cur = 256;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &lowered) == 0);
    for (;;) {
      Fd fd(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0));
      if (!fd.is_open()) break;
      taken_.push_back(std::move(fd));
    }
  }
  ~NoDescriptorsLeft() { setrlimit(RLIMIT_NOFILE, &before_); }
  void give_back_one() { taken_.pop_back(); }

 private:
  rlimit before_{};
  std::vector<Fd> taken_;
};

std::string name_of(const char* host, uint16_t port) {
  const Peer peer = peer_of(address_of(host, port));
  REQUIRE(std::strlen(peer.name) == peer.name_size);
  return peer.name;
}

bool is_local(const char* host) { return peer_of(address_of(host, 1)).is_local; }

}  // namespace

TEST_CASE("peers are named by address and port") {
  CHECK(name_of("127.0.0.1", 40312) == "127.0.0.1:40312");
  CHECK(name_of("255.255.255.255", 65535) == "255.255.255.255:65535");
  CHECK(name_of("0.0.0.0", 1) == "0.0.0.0:1");
  CHECK(name_of("::1", 8080) == "[::1]:8080");
  CHECK(name_of("1111:2222:3333:4444:5555:6666:7777:8888", 65535) ==
        "[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
  CHECK(name_of("::ffff:10.1.2.3", 99) == "10.1.2.3:99");
  sockaddr_storage unix_address{};
  unix_address.ss_family = AF_UNIX;
  CHECK(std::string(peer_of(unix_address).name) == "unknown");
  CHECK_FALSE(peer_of(unix_address).is_local);
}

TEST_CASE("loopback peers are told from others") {
  for (const char* host : {"127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"}) {
    CAPTURE(host);
    CHECK(is_local(host));
  }
  for (const char* host : {"126.255.255.255", "128.0.0.1", "::", "::2", "::ffff:128.0.0.1",
                           "::127.0.0.1", "fe80::1"}) {
    CAPTURE(host);
    CHECK_FALSE(is_local(host));
  }
}

TEST_CASE("a peer that comes from the address it connects to is told from another") {
  const Result<Fd> listening = open_listening_socket({.host = "127.0.0.3"}, false);
  REQUIRE(listening.is_ok());
  const sockaddr_storage target = address_of("127.0.0.3", own_port(listening.value()));
  for (const char* from : {"127.0.0.2", "127.0.0.3"}) {
    CAPTURE(from);
    const sockaddr_storage source = address_of(from, 0);
    const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(client.get(), reinterpret_cast<const sockaddr*>(&source), sizeof source) == 0);
    REQUIRE(::connect(client.get(), reinterpret_cast<const sockaddr*>(&target), sizeof target) ==
            0);
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    // The listening socket does not block, but the connection is complete already.
    const Fd accepted(
        ::accept4(listening.value().get(), reinterpret_cast<sockaddr*>(&peer), &size, 0));
    REQUIRE(accepted.is_open());
    CHECK(hrmr::net::is_own_address(accepted.get(), peer) == (std::string(from) == "127.0.0.3"));
  }
}

TEST_CASE("an accepted descriptor is non-blocking, close-on-exec and without Nagle's delay") {
  Acceptor acceptor;
  const Fd client = connect_to("127.0.0.1", acceptor.port);
  REQUIRE(acceptor.run_until([&] { return !acceptor.accepted.empty(); }));
  CHECK(acceptor.names.at(0) == "127.0.0.1:" + std::to_string(own_port(client)));
  const int fd = acceptor.accepted.at(0).get();
  CHECK((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  int no_delay = 0;
  socklen_t size = sizeof no_delay;
  REQUIRE(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size) == 0);
  CHECK(no_delay != 0);
}

TEST_CASE("more peers than one turn accepts are all accepted, in order") {
  Acceptor acceptor;
  std::vector<Fd> clients;
  const size_t peers = hrmr::limits::kAcceptsPerTurn * 2 + 3;
  while (clients.size() < peers) clients.push_back(connect_to("127.0.0.1", acceptor.port));
  REQUIRE(acceptor.run_until([&] { return acceptor.accepted.size() >= peers; }));
  REQUIRE(acceptor.names.size() == peers);
  size_t good = 0;
  for (size_t i = 0; i < peers; ++i) {
    good += acceptor.names[i] == "127.0.0.1:" + std::to_string(own_port(clients[i])) ? 1 : 0;
  }
  CHECK(good == peers);
  CHECK(acceptor.logged().empty());
}

TEST_CASE("one turn accepts no more than its bound") {
  Acceptor acceptor;
  struct TurnEnd final : Retired {
    explicit TurnEnd(std::function<void()> given) : then(std::move(given)) {}
    ~TurnEnd() override { then(); }
    std::function<void()> then;
  };
  size_t this_turn = 0;
  std::vector<size_t> turns;
  acceptor.then = [&] {
    if (++this_turn != 1) return;
    acceptor.loop.retire_later(new TurnEnd([&] {
      turns.push_back(this_turn);
      this_turn = 0;
    }));
  };
  std::vector<Fd> clients;
  const size_t bound = hrmr::limits::kAcceptsPerTurn;
  while (clients.size() < bound + 2) clients.push_back(connect_to("127.0.0.1", acceptor.port));
  REQUIRE(acceptor.run_until([&] { return acceptor.accepted.size() == bound + 2; }));
  CHECK(turns == std::vector<size_t>{bound, 2});
}

TEST_CASE("a listener that is closed while it accepts stops at once and in silence") {
  Acceptor acceptor;
  std::vector<Fd> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(connect_to("127.0.0.1", acceptor.port));
  acceptor.then = [&] {
    if (acceptor.accepted.size() == 2) acceptor.listener.close();
  };
  REQUIRE(acceptor.run_until([&] { return is_closed_by_peer(clients[2]); }));
  CHECK(acceptor.accepted.size() == 2);
  CHECK_FALSE(acceptor.listener.is_armed());
  CHECK(acceptor.logged().empty());
}

TEST_CASE("a listener may be closed while it accepts, and attached again") {
  Acceptor acceptor;
  std::vector<Fd> clients;
  for (int i = 0; i < 5; ++i) clients.push_back(connect_to("127.0.0.1", acceptor.port));
  Result<Fd> second = open_listening_socket({.host = "127.0.0.1"}, true);
  REQUIRE(second.is_ok());
  clients.push_back(connect_to("127.0.0.1", bound_port(second.value().get())));
  acceptor.then = [&] {
    if (acceptor.accepted.size() == 2) {
      acceptor.listener.close();
      acceptor.listener.close();
      REQUIRE(acceptor.listener.attach(second.take()).is_ok());
    }
  };
  REQUIRE(acceptor.run_until([&] { return is_closed_by_peer(clients[2]); }));
  REQUIRE(acceptor.names.size() == 3);
  CHECK(acceptor.names[2] == "127.0.0.1:" + std::to_string(own_port(clients[5])));
  acceptor.listener.close();
}

TEST_CASE("without descriptors a peer is refused, the others wait and are served later") {
  Acceptor acceptor;
  constexpr size_t kClients = 20;
  std::vector<Fd> clients;
  while (clients.size() < kClients) clients.push_back(connect_to("127.0.0.1", acceptor.port));
  size_t refused = 0;
  {
    NoDescriptorsLeft exhausted;
    bool has_given_back = false;
    CHECK(acceptor.run_until([&] {
      if (has_given_back) return refused + acceptor.accepted.size() == kClients;
      refused = 0;
      for (const Fd& client : clients) refused += is_closed_by_peer(client) ? 1 : 0;
      has_given_back = refused >= 2;  // one pause has ended without a way out, another one begun
      for (size_t i = 0; has_given_back && i < 2 * kClients; ++i) exhausted.give_back_one();
      return false;
    }));
  }
  CHECK(refused < kClients);
  CHECK(refused + acceptor.accepted.size() == kClients);
  const std::vector<LogRecord> records = acceptor.logged();
  CHECK(count(records, "cannot accept connections: Too many open files") == 1);
  CHECK(count(records, "accepting connections again") == 1);
  CHECK(records.size() == 2);
  CHECK(records.at(0).level == hrmr::LogLevel::kWarning);
}

TEST_CASE("connections are not said to be accepted again before one is") {
  Acceptor acceptor;
  Fd only = connect_to("127.0.0.1", acceptor.port);
  Fd later(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  {
    NoDescriptorsLeft exhausted;
    int looks_after_refusal = 0;
    REQUIRE(acceptor.run_until([&] {
      // The pause has ended and nobody waited; then one more comes, and is refused as well.
      if (is_closed_by_peer(only)) ++looks_after_refusal;
      if (looks_after_refusal == 20) {
        const sockaddr_storage address = address_of("127.0.0.1", acceptor.port);
        const auto* where = reinterpret_cast<const sockaddr*>(&address);
        REQUIRE(::connect(later.get(), where, sizeof address) == 0);
      }
      return looks_after_refusal > 20 && is_closed_by_peer(later);
    }));
  }
  const std::vector<LogRecord> records = acceptor.logged();
  CHECK(records.size() == 1);
  CHECK(count(records, "cannot accept connections") == 1);
}

TEST_CASE("a taken port is an error that says what to do") {
  Result<Fd> first = open_listening_socket({.host = "127.0.0.1"}, true);
  REQUIRE(first.is_ok());
  const uint16_t port = bound_port(first.value().get());
  const std::string expected =
      "port " + std::to_string(port) +
      " on 127.0.0.1 is already in use: choose another as port (--port), or 0 for any free one";
  for (bool share_port : {false, true}) {
    const Result<Fd> second =
        open_listening_socket({.host = "127.0.0.1", .port = port, .share_port = share_port}, true);
    REQUIRE_FALSE(second.is_ok());
    CHECK(second.message() == expected);
  }
}

TEST_CASE("our loops share a port, and the first of them finds a stranger who shares too") {
  Result<Fd> first = open_listening_socket({.host = "127.0.0.1", .share_port = true}, true);
  REQUIRE(first.is_ok());
  const uint16_t port = bound_port(first.value().get());
  const Address same{.host = "127.0.0.1", .port = port, .share_port = true};
  CHECK(open_listening_socket(same, false).is_ok());
  const Result<Fd> stranger = open_listening_socket(same, true);
  REQUIRE_FALSE(stranger.is_ok());
  CHECK(stranger.message().find("is already in use") != std::string::npos);
}

TEST_CASE("a port that was just given up can be had again at once") {
  Acceptor acceptor;
  const uint16_t port = acceptor.port;
  {
    const Fd client = connect_to("127.0.0.1", port);
    REQUIRE(acceptor.run_until([&] { return !acceptor.accepted.empty(); }));
    acceptor.accepted.clear();  // we close first: TIME_WAIT is on our side
  }
  acceptor.listener.close();
  for (bool share_port : {false, true}) {
    CHECK(open_listening_socket({.host = "127.0.0.1", .port = port, .share_port = share_port}, true)
              .is_ok());
  }
}

TEST_CASE("a host that is not of this machine is an error that says what to do") {
  const Result<Fd> fd = open_listening_socket({.host = "192.0.2.1"}, true);  // TEST-NET-1
  REQUIRE_FALSE(fd.is_ok());
  CHECK(fd.message() ==
        "host 192.0.2.1 is not an address of this machine: choose another as host (--host), or "
        "0.0.0.0 "
        "for all");
}

TEST_CASE("a host that does not resolve is an error that says what to do") {
  // Too long for a name, so that no name server is asked.
  const std::string host(300, 'x');
  const Result<Fd> fd = open_listening_socket({.host = host}, true);
  REQUIRE_FALSE(fd.is_ok());
  CHECK(fd.message() == "host " + host +
                            " does not resolve (Name or service not known): choose an address of "
                            "this machine as host (--host)");
}

TEST_CASE("a privileged port is an error that says what to do") {
  int first_free = 1024;
  if (FILE* file = std::fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r")) {
    CHECK(std::fscanf(file, "%d", &first_free) == 1);
    std::fclose(file);
  }
  if (first_free <= 1) {
    MESSAGE("every port is open to all here: not tested");
    return;
  }
  std::fflush(nullptr);  // or the child prints it too
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(2);
    const Result<Fd> fd = open_listening_socket({.host = "127.0.0.1", .port = 1}, true);
    const bool is_expected = !fd.is_ok() && fd.message().find(
                                                "port 1 on 127.0.0.1 needs a "
                                                "privilege: choose one from 1024 "
                                                "on") == 0;
    _exit(is_expected ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("an IPv6 socket names its peers in brackets") {
  if (!has_ip6()) {
    MESSAGE("no IPv6 here: not tested");
    return;
  }
  Acceptor acceptor({.host = "::1"});
  const Fd client = connect_to("::1", acceptor.port);
  REQUIRE(acceptor.run_until([&] { return !acceptor.accepted.empty(); }));
  CHECK(acceptor.names.at(0) == "[::1]:" + std::to_string(own_port(client)));
}

TEST_CASE("the IPv6 wildcard takes IPv4 too and names those peers as IPv4") {
  if (!has_ip6()) {
    MESSAGE("no IPv6 here: not tested");
    return;
  }
  Acceptor acceptor({.host = "::"});
  const Fd client = connect_to("127.0.0.1", acceptor.port);
  REQUIRE(acceptor.run_until([&] { return !acceptor.accepted.empty(); }));
  CHECK(acceptor.names.at(0) == "127.0.0.1:" + std::to_string(own_port(client)));
}

TEST_CASE("a name that has an IPv4 address listens on that one") {
  Acceptor acceptor({.host = "localhost"});
  const Fd client = connect_to("127.0.0.1", acceptor.port);
  CHECK(acceptor.run_until([&] { return !acceptor.accepted.empty(); }));
}

TEST_CASE("an empty host is all of IPv4, and a descriptor without a port has port 0") {
  Acceptor acceptor({.host = ""});
  const Fd client = connect_to("127.0.0.1", acceptor.port);
  CHECK(acceptor.run_until([&] { return !acceptor.accepted.empty(); }));
  CHECK(bound_port(-1) == 0);
  CHECK(bound_port(STDIN_FILENO) == 0);
}
