// storm_load: the clients of the storm. They ask without end, over HTTP and in plain lines, one
// request at a time and pipelined, and know of every answer which bytes are right: those of the
// version that is live. It is storm_load that sends RELOAD, in the midst of its requests, so that
// it knows what may be live when:
//
//   - a request that is sent after the answer to reload K was read is answered by K or a later one;
//   - one that is answered before reload K+1 was sent is answered by K or an earlier one, so
//   between
//     two reloads exactly one answer is right;
//   - one that is pipelined in front of a RELOAD is answered by what was before, one behind it by
//     what came of it;
//   - no connection is ever answered by an older reload than before.
//
//     ./storm_load PORT STATES SECONDS PORTION    under control of storm_run.py
//
// STATES: the versions of the inline, the pool and the Python module, such as ABA; '-' is none.
// SECONDS: how long nothing at all may come. PORTION: connections of each kind. Reads commands:
//
//     reload STATES    sends RELOAD, after which the modules are so; prints what it answered, and
//                      "done"
//     stats            prints "stats REQUESTS SECONDS COUNT P50 P99 P999 MAX" since the last one:
//                      all requests, and latencies in ns of inline ones that were sent alone
//     end              ends when all answers are there; prints "end REQUESTS"
//
// The first thing that is wrong ends it: exit code 1, and what it was on standard error.
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
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storm_answer.h"

namespace {

using Clock = std::chrono::steady_clock;
using storm::Question;

constexpr int kEventsPerTurn = 64;
constexpr int kTurnMs = 100;
constexpr size_t kReadBytes = 256 * 1024;
constexpr size_t kShownBytes = 160;
constexpr size_t kDepthMax = 8;
constexpr size_t kOneInParts = 32;  // one burst of so many is sent in two parts
// So many bursts of each connection are as large as can be: what the server and its allocator keep
// for the largest requests, they have from the beginning then, and growth is growth.
constexpr size_t kFullBursts = 200;
constexpr size_t kMixed = storm::kRoutes;
constexpr size_t kNoLimit = SIZE_MAX;

// What is asked, and the numbers of the reloads that may answer it.
struct Asked {
  Question question;
  bool is_reload = false;
  size_t oldest = 0;
  size_t newest = kNoLimit;
};

struct Connection {
  int fd = -1;
  size_t number = 0;
  bool is_http = false;
  size_t route = 0;  // kMixed: any, and several at once
  std::deque<Asked> due;
  Clock::time_point sent_at;
  Clock::time_point heard_at;
  std::string out;
  size_t out_done = 0;
  size_t out_allowed = 0;  // what is behind it waits for the next turn
  std::string in;
  size_t in_done = 0;
  size_t bursts = 0;
  size_t floor = 0;  // no answer may come of a reload before this one
  bool wants_write = false;

  std::string shown() const {
    static constexpr std::array<const char*, kMixed + 1> kNames = {"inline", "pool", "Python",
                                                                   "mixed"};
    return "connection " + std::to_string(number) + " (" + (is_http ? "HTTP" : "lines") + ", " +
           kNames[route] + ")";
  }
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

[[noreturn]] void die_of_errno(const std::string& what) { die(what + ": " + std::strerror(errno)); }

std::string shown(std::string_view bytes) {
  std::string text = std::to_string(bytes.size()) + " bytes '";
  for (const char c : bytes.substr(0, kShownBytes)) {
    if (c == '\n') {
      text += "\\n";
    } else if (c != '\r') {
      text += c;
    }
  }
  return text + (bytes.size() > kShownBytes ? "...'" : "'");
}

int connect_to(uint16_t port, Clock::duration silence) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die_of_errno("socket");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  timeval timeout{};  // of the only call that waits, at the end
  timeout.tv_sec = 1 + std::chrono::duration_cast<std::chrono::seconds>(silence).count();
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    die_of_errno("connect");
  }
  return fd;
}

class Load {
 public:
  Load(uint16_t port, std::string states, double silence_s, size_t portion);
  void run();

 private:
  void add_connection(uint16_t port, bool is_http, size_t route);
  void serve(Connection& connection, uint32_t events);
  void send_burst(Connection& connection);
  void add_question(Connection& connection, size_t newest);
  void add_reload(Connection& connection);
  void flush(Connection& connection);
  void want_write(Connection& connection, bool wanted);
  void receive(Connection& connection);
  void read_answers(Connection& connection);
  bool read_answer(Connection& connection, std::string_view received);
  bool read_report(Connection& connection, std::string_view received);
  void check_answer(Connection& connection, const Asked& asked, std::string_view answer);
  [[noreturn]] void refuse(const Connection& connection, const Asked& asked,
                           std::string_view answer) const;
  void begin_bursts();
  void check_silence();
  bool is_idle() const;
  void read_commands();
  void obey(const std::string& command);
  void print_stats();

  int epoll_ = -1;
  Clock::duration silence_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> waiting_;  // for the next turn, with the rest of a burst
  storm::History history_;
  storm::Dice dice_{20'250'101};
  std::optional<std::string> wanted_reload_;  // the states after it; no connection has sent it yet
  uint64_t next_serial_ = 1;
  uint64_t answered_ = 0;
  uint64_t answered_before_ = 0;  // the last print_stats
  Clock::time_point stats_from_ = Clock::now();
  Clock::time_point silence_checked_at_ = Clock::now();
  storm::Latencies latencies_;
  std::string commands_;
  std::string expected_;
  bool is_ending_ = false;
};

Load::Load(uint16_t port, std::string states, double silence_s, size_t portion)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      silence_(
          std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(silence_s))) {
  if (epoll_ < 0) die_of_errno("epoll_create1");
  history_.states.push_back(std::move(states));
  for (size_t i = 0; i < portion; ++i) {
    for (const bool is_http : {false, true}) {
      for (size_t route = 0; route <= kMixed; ++route) add_connection(port, is_http, route);
    }
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0) die_of_errno("epoll_ctl stdin");
}

void Load::add_connection(uint16_t port, bool is_http, size_t route) {
  auto connection = std::make_unique<Connection>();
  connection->fd = connect_to(port, silence_);
  connection->number = connections_.size();
  connection->is_http = is_http;
  connection->route = route;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = connection.get();
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, connection->fd, &event) != 0) die_of_errno("epoll_ctl");
  connections_.push_back(std::move(connection));
}

void Load::run() {
  for (const auto& connection : connections_) send_burst(*connection);
  std::array<epoll_event, kEventsPerTurn> events;
  while (!is_ending_ || !is_idle()) {
    const int timeout_ms = waiting_.empty() ? kTurnMs : 0;
    const int count = epoll_wait(epoll_, events.data(), kEventsPerTurn, timeout_ms);
    if (count < 0 && errno != EINTR) die_of_errno("epoll_wait");
    const std::vector<Connection*> waited = std::exchange(waiting_, {});
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      if (event.data.ptr == nullptr) {
        read_commands();
      } else {
        serve(*static_cast<Connection*>(event.data.ptr), event.events);
      }
    }
    for (Connection* connection : waited) {
      connection->out_allowed = connection->out.size();
      flush(*connection);
    }
    check_silence();
  }
  // Whatever was sent twice is here by now, or comes with the end.
  for (const auto& connection : connections_) {
    shutdown(connection->fd, SHUT_WR);
    char byte;
    const ssize_t got = recv(connection->fd, &byte, 1, 0);
    if (got != 0) die(connection->shown() + ": more came than was asked for");
  }
  std::printf("end %llu\n", static_cast<unsigned long long>(answered_));
}

void Load::serve(Connection& connection, uint32_t events) {
  if ((events & EPOLLOUT) != 0) flush(connection);
  if ((events & ~static_cast<uint32_t>(EPOLLOUT)) != 0) receive(connection);
}

// All that a connection asks at once. The next burst begins when every answer is there.
void Load::send_burst(Connection& connection) {
  if (is_ending_) return;
  ++connection.bursts;
  connection.out.clear();
  connection.out_done = 0;
  const bool is_mixed = connection.route == kMixed;
  const bool has_reload = is_mixed && !connection.is_http && wanted_reload_.has_value();
  if (has_reload) {
    for (size_t i = dice_.roll(3); i != 0; --i) add_question(connection, history_.started());
    add_reload(connection);
    add_question(connection, kNoLimit);
  }
  size_t depth = is_mixed ? 1 + dice_.roll(kDepthMax) : 1;
  if (is_mixed && connection.bursts <= kFullBursts) depth = kDepthMax;
  for (size_t i = 0; i < depth; ++i) add_question(connection, kNoLimit);
  connection.out_allowed = connection.out.size();
  if (is_mixed && dice_.roll(kOneInParts) == 0) {
    connection.out_allowed = dice_.roll(connection.out.size());
    waiting_.push_back(&connection);
  }
  connection.sent_at = connection.heard_at = Clock::now();
  flush(connection);
}

void Load::add_question(Connection& connection, size_t newest) {
  Asked asked;
  asked.question.serial = next_serial_++;
  asked.question.route = connection.route == kMixed ? dice_.roll(storm::kRoutes) : connection.route;
  asked.question.is_http = connection.is_http;
  const bool is_full = connection.bursts <= kFullBursts;
  asked.question.payload_bytes = is_full ? storm::kContentBytesMax - 1 : dice_.size();
  asked.question.fill_bytes = is_full ? storm::kContentBytesMax - 1 : dice_.size();
  // Behind a RELOAD in the same burst, it is that one at least.
  const bool is_behind = !connection.due.empty() && connection.due.back().newest == kNoLimit;
  asked.oldest = is_behind ? connection.due.back().oldest : history_.completed;
  asked.newest = newest;
  storm::append_request(connection.out, asked.question);
  connection.due.push_back(asked);
}

void Load::add_reload(Connection& connection) {
  history_.states.push_back(*std::exchange(wanted_reload_, std::nullopt));
  Asked asked;
  asked.is_reload = true;
  asked.oldest = history_.started();
  connection.out.append("RELOAD\n");
  connection.due.push_back(asked);
}

void Load::flush(Connection& connection) {
  while (connection.out_done < connection.out_allowed) {
    const size_t left = connection.out_allowed - connection.out_done;
    const ssize_t sent = send(connection.fd, connection.out.data() + connection.out_done, left,
                              MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return want_write(connection, true);
    if (sent < 0) die_of_errno(connection.shown() + ": send");
    connection.out_done += static_cast<size_t>(sent);
  }
  want_write(connection, false);
}

void Load::want_write(Connection& connection, bool wanted) {
  if (connection.wants_write == wanted) return;
  connection.wants_write = wanted;
  epoll_event event{};
  event.events = wanted ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.ptr = &connection;
  if (epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event) != 0) die_of_errno("epoll_ctl");
}

void Load::receive(Connection& connection) {
  static std::array<char, kReadBytes> bytes;
  const ssize_t got = recv(connection.fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) die_of_errno(connection.shown() + ": recv");
  if (got == 0) die(connection.shown() + ": the server closed it");
  connection.in.append(bytes.data(), static_cast<size_t>(got));
  connection.heard_at = Clock::now();
  read_answers(connection);
}

void Load::read_answers(Connection& connection) {
  while (!connection.due.empty()) {
    const std::string_view received = std::string_view(connection.in).substr(connection.in_done);
    const bool is_there = connection.due.front().is_reload ? read_report(connection, received)
                                                           : read_answer(connection, received);
    if (!is_there) return;
    connection.due.pop_front();
  }
  if (connection.in_done != connection.in.size()) {
    die(connection.shown() + ": nothing was asked, there came " +
        shown(std::string_view(connection.in).substr(connection.in_done)));
  }
  connection.in.clear();
  connection.in_done = 0;
  send_burst(connection);
}

bool Load::read_answer(Connection& connection, std::string_view received) {
  const size_t size = storm::answer_bytes(received, connection.is_http);
  if (size == 0) return false;
  check_answer(connection, connection.due.front(), received.substr(0, size));
  connection.in_done += size;
  ++answered_;
  if (connection.route == 0) {
    const auto took = connection.heard_at - connection.sent_at;
    latencies_.add(static_cast<uint64_t>(std::chrono::nanoseconds(took).count()));
  }
  return true;
}

// The lines that RELOAD answers; the last one begins with OK or ERR.
bool Load::read_report(Connection& connection, std::string_view received) {
  size_t line_at = 0;
  for (;;) {
    const size_t end = received.find('\n', line_at);
    if (end == std::string_view::npos) return false;
    const std::string_view line = received.substr(line_at, end - line_at);
    line_at = end + 1;
    if (line.starts_with("OK ") || line.starts_with("ERR ") || line.starts_with("503 ")) break;
  }
  history_.completed = connection.due.front().oldest;
  connection.in_done += line_at;
  std::printf("%.*sdone\n", static_cast<int>(line_at), received.data());
  std::fflush(stdout);
  return true;
}

// Takes the oldest reload that can have given this answer: so the next answer, which may not be
// older, is allowed whatever it can be allowed.
void Load::check_answer(Connection& connection, const Asked& asked, std::string_view answer) {
  const size_t newest = std::min(asked.newest, history_.started());
  const std::string_view date = storm::date_of(answer);
  char last = 0;
  for (size_t k = std::max(asked.oldest, connection.floor); k <= newest; ++k) {
    const char state = history_.states[k][asked.question.route];
    if (state == last) continue;
    last = state;
    expected_.clear();
    storm::append_answer(expected_, asked.question, state, date);
    if (answer != expected_) continue;
    connection.floor = k;
    return;
  }
  refuse(connection, asked, answer);
}

void Load::refuse(const Connection& connection, const Asked& asked, std::string_view answer) const {
  const size_t oldest = std::max(asked.oldest, connection.floor);
  const size_t newest = std::min(asked.newest, history_.started());
  std::string request;
  storm::append_request(request, asked.question);
  std::string states;
  for (size_t k = oldest; k <= newest; ++k) states += history_.states[k][asked.question.route];
  die(connection.shown() + ": wrong answer\n  asked: " + shown(request) +
      "\n  answer: " + shown(answer) + "\n  right would be version " + states + " of reload " +
      std::to_string(oldest) + " to " + std::to_string(newest) + " (completed " +
      std::to_string(history_.completed) + ", started " + std::to_string(history_.started()) + ")");
}

void Load::check_silence() {
  const auto now = Clock::now();
  if (now - silence_checked_at_ < std::chrono::milliseconds(kTurnMs)) return;
  silence_checked_at_ = now;
  for (const auto& connection : connections_) {
    if (connection->due.empty() || now - connection->heard_at < silence_) continue;
    const Asked& asked = connection->due.front();
    std::string request = "RELOAD";
    if (!asked.is_reload) {
      request.clear();
      storm::append_request(request, asked.question);
    }
    die(connection->shown() + ": no answer in time\n  asked: " + shown(request));
  }
}

bool Load::is_idle() const {
  for (const auto& connection : connections_) {
    if (!connection->due.empty()) return false;
  }
  return true;
}

void Load::read_commands() {
  std::array<char, 4096> bytes;
  const ssize_t got = read(STDIN_FILENO, bytes.data(), bytes.size());
  if (got < 0) die_of_errno("read commands");
  if (got == 0) die("the controller has gone");
  commands_.append(bytes.data(), static_cast<size_t>(got));
  for (size_t end = 0; (end = commands_.find('\n')) != std::string::npos;) {
    obey(commands_.substr(0, end));
    commands_.erase(0, end + 1);
  }
}

void Load::obey(const std::string& command) {
  constexpr std::string_view kReload = "reload ";
  if (command.starts_with(kReload) && command.size() == kReload.size() + storm::kRoutes) {
    wanted_reload_ = command.substr(kReload.size());
  } else if (command == "stats") {
    print_stats();
  } else if (command == "end") {
    is_ending_ = true;
  } else {
    die("unknown command '" + command + "'");
  }
}

void Load::print_stats() {
  const auto now = Clock::now();
  const double seconds = std::chrono::duration<double>(now - stats_from_).count();
  std::printf("stats %llu %.6f", static_cast<unsigned long long>(answered_ - answered_before_),
              seconds);
  for (const uint64_t number :
       {latencies_.count(), latencies_.quantile(0.5), latencies_.quantile(0.99),
        latencies_.quantile(0.999), latencies_.max()}) {
    std::printf(" %llu", static_cast<unsigned long long>(number));
  }
  std::printf("\n");
  std::fflush(stdout);
  latencies_ = storm::Latencies();
  answered_before_ = answered_;
  stats_from_ = now;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string states = argc == 5 ? argv[2] : "";
  const auto portion = argc == 5 ? std::strtoul(argv[4], nullptr, 10) : 0;
  if (states.size() != storm::kRoutes || portion == 0) {
    std::fprintf(stderr, "usage: storm_load PORT STATES SECONDS PORTION\n");
    return 2;
  }
  Load load(static_cast<uint16_t>(std::atoi(argv[1])), states, std::atof(argv[3]), portion);
  load.run();
  return 0;
}
