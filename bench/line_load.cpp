// line_load: a closed-loop load generator for any protocol with fixed answers, such as lines. Every
// connection sends its requests, waits for all of their answers, compares each byte, and begins
// anew; so at most CONNECTIONS x DEPTH requests are under way.
//
//     g++ -O2 -std=c++20 bench/line_load.cpp -o line_load
//     ./line_load 8080 $'HELLO\n' $'hello from C\n' 64 1 2
//
// PORT REQUEST ANSWER CONNECTIONS DEPTH SECONDS; on loopback, one thread. Prints the answers
// counted and the seconds they took: "requests 200000 seconds 2.000". Exits with 1 on a wrong
// answer, saying what came, and when a connection is closed or nothing at all comes for a second.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kEventsPerTurn = 256;
constexpr int kSilenceMs = 1000;
constexpr size_t kReadBytes = 64 * 1024;
constexpr size_t kShownBytes = 80;

struct Load {
  uint16_t port = 0;
  size_t connections = 0;
  size_t depth = 0;
  double seconds = 0;
  std::string requests;  // as many as are sent at once
  std::string answers;   // to all of those
};

struct Connection {
  int fd = -1;
  size_t received = 0;  // bytes of the answers that are under way
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "line_load: %s\n", what.c_str());
  std::exit(1);
}

[[noreturn]] void die_of_errno(const char* what) {
  die(std::string(what) + ": " + std::strerror(errno));
}

int connect_to(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die_of_errno("socket");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    die_of_errno("connect");
  }
  return fd;
}

void send_requests(const Connection& connection, const Load& load) {
  const ssize_t sent =
      send(connection.fd, load.requests.data(), load.requests.size(), MSG_NOSIGNAL);
  if (sent < 0) die_of_errno("send");
  // The server has read all that came before, so there is room for the next ones.
  if (static_cast<size_t>(sent) != load.requests.size())
    die("DEPTH is too large to be sent at once");
}

// Reads what has come, compares it, and tells whether all answers are there.
bool receive_answers(Connection& connection, const Load& load) {
  std::array<char, kReadBytes> bytes;
  const ssize_t got = recv(connection.fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (got < 0) die_of_errno("recv");
  if (got == 0) die("the server closed a connection");
  const std::string_view answer(bytes.data(), static_cast<size_t>(got));
  const std::string_view due = std::string_view(load.answers).substr(connection.received);
  if (due.substr(0, answer.size()) != answer) {
    die("wrong answer: '" + std::string(answer.substr(0, kShownBytes)) + "'");
  }
  connection.received += answer.size();
  if (connection.received < load.answers.size()) return false;
  connection.received = 0;
  return true;
}

std::vector<Connection> connect_all(const Load& load, int epoll) {
  std::vector<Connection> connections(load.connections);
  for (Connection& connection : connections) {
    connection.fd = connect_to(load.port);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &connection;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection.fd, &event) != 0) die_of_errno("epoll_ctl");
  }
  return connections;
}

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void run(const Load& load) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Connection> connections = connect_all(load, epoll);
  const auto begin = Clock::now();
  for (const Connection& connection : connections) send_requests(connection, load);

  std::array<epoll_event, kEventsPerTurn> events;
  unsigned long long answered = 0;
  double seconds = 0;
  while ((seconds = seconds_since(begin)) < load.seconds) {
    const int count = epoll_wait(epoll, events.data(), kEventsPerTurn, kSilenceMs);
    if (count == 0) die("no answer for a second");
    for (int i = 0; i < count; ++i) {
      auto& connection = *static_cast<Connection*>(events[static_cast<size_t>(i)].data.ptr);
      if (!receive_answers(connection, load)) continue;
      answered += load.depth;
      send_requests(connection, load);
    }
  }
  std::printf("requests %llu seconds %.3f\n", answered, seconds);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: line_load PORT REQUEST ANSWER CONNECTIONS DEPTH SECONDS\n");
    return 2;
  }
  Load load;
  load.port = static_cast<uint16_t>(std::atoi(argv[1]));
  load.connections = std::strtoul(argv[4], nullptr, 10);
  load.depth = std::strtoul(argv[5], nullptr, 10);
  load.seconds = std::atof(argv[6]);
  for (size_t i = 0; i < load.depth; ++i) {
    load.requests += argv[2];
    load.answers += argv[3];
  }
  if (load.connections == 0 || load.requests.empty() || load.answers.empty()) {
    std::fprintf(stderr, "line_load: CONNECTIONS, DEPTH, REQUEST and ANSWER must not be empty\n");
    return 2;
  }
  run(load);
  return 0;
}
