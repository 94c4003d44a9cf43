// bare_epoll: the limit of what one thread can do here. Edge-triggered epoll, one read and one
// write for each burst of requests; of a request it looks for the end and nothing else, and the
// answer is fixed. No server that parses, routes or formats can be cheaper on the same kernel.
//
//     g++ -O2 -std=c++20 bench/bare_epoll.cpp -o bare_epoll && ./bare_epoll 8081 http
//
// `http` answers each head, `lines` each line, `resp` each PING of Redis' protocol. No bodies, no
// errors, no timeouts; a peer that does not read its answers is cut off. Listens on loopback only.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

namespace {

constexpr size_t kReadBytes = 16 * 1024;
constexpr int kEventsPerTurn = 256;
constexpr size_t kAnswersPerWrite = 64;

// The same head lines as HRMR sends, so that both write as many bytes.
constexpr std::string_view kHttpAnswer =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n"
    "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
    "Content-Length: 13\r\n"
    "\r\n"
    "hello, world\n";
constexpr std::string_view kLineAnswer = "hello, world\n";
constexpr std::string_view kRespAnswer = "+PONG\r\n";

struct Protocol {
  std::string_view request_end;
  std::string_view answer;
  std::string answers;  // many of them in a row
};

struct Connection {
  explicit Connection(int given) : fd(given) {}
  int fd;
  size_t filled = 0;
  std::array<char, kReadBytes> bytes;
};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int listen_on(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");
  if (listen(fd, SOMAXCONN) != 0) die("listen");
  return fd;
}

void accept_all(int listener, int epoll) {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
    event.data.ptr = new Connection(fd);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
  }
}

// Takes the whole requests out of the buffer; tells how many they were.
size_t take_requests(Connection& connection, const Protocol& protocol) {
  const std::string_view input(connection.bytes.data(), connection.filled);
  size_t taken = 0;
  size_t count = 0;
  for (size_t end = 0; (end = input.find(protocol.request_end, taken)) != input.npos; ++count) {
    taken = end + protocol.request_end.size();
  }
  connection.filled -= taken;
  if (connection.filled != 0) {
    std::memmove(connection.bytes.data(), input.data() + taken, connection.filled);
  }
  return count;
}

bool send_answers(int fd, size_t count, const Protocol& protocol) {
  while (count > 0) {
    const size_t now = count < kAnswersPerWrite ? count : kAnswersPerWrite;
    const size_t size = now * protocol.answer.size();
    const ssize_t sent = send(fd, protocol.answers.data(), size, MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(size)) return false;
    count -= now;
  }
  return true;
}

// False: the connection is to be closed.
bool serve(Connection& connection, const Protocol& protocol) {
  for (;;) {
    const size_t room = connection.bytes.size() - connection.filled;
    if (room == 0) return false;  // a request larger than the buffer
    const ssize_t got = recv(connection.fd, connection.bytes.data() + connection.filled, room, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    connection.filled += static_cast<size_t>(got);
    if (!send_answers(connection.fd, take_requests(connection, protocol), protocol)) return false;
    // A short read has emptied the socket (epoll(7)): what comes later is a new edge.
    if (static_cast<size_t>(got) < room) return true;
  }
}

[[noreturn]] void run(int listener, const Protocol& protocol) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  epoll_event listening{};
  listening.events = EPOLLIN | EPOLLET;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening) != 0) die("epoll_ctl");
  std::array<epoll_event, kEventsPerTurn> events;
  for (;;) {
    const int count = epoll_wait(epoll, events.data(), kEventsPerTurn, -1);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      auto* connection = static_cast<Connection*>(event.data.ptr);
      if (connection == nullptr) {
        accept_all(listener, epoll);
      } else if (!serve(*connection, protocol) || (event.events & EPOLLRDHUP) != 0) {
        close(connection->fd);
        delete connection;
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc == 3 ? argv[2] : "";
  const int port = argc == 3 ? std::atoi(argv[1]) : 0;
  if (port < 1 || port > 65535 || (mode != "http" && mode != "lines" && mode != "resp")) {
    std::fprintf(stderr, "usage: bare_epoll PORT http|lines|resp\n");
    return 2;
  }
  Protocol protocol{"\r\n\r\n", kHttpAnswer, {}};
  if (mode == "lines") protocol = {"\n", kLineAnswer, {}};
  if (mode == "resp") protocol = {"PING\r\n", kRespAnswer, {}};
  for (size_t i = 0; i < kAnswersPerWrite; ++i) protocol.answers += protocol.answer;
  run(listen_on(static_cast<uint16_t>(port)), protocol);
}
