// Kernel: plays the kernel for one event loop: sockets, epoll, the eventfd, the clock. The engine's
// own calls reach it: the linker's --wrap sends recv(2), epoll_wait(2) and the others here
// (kernel.cpp), so that the code that is fuzzed is the code that is shipped.
//
// It behaves as Linux does where the engine relies on that: edges are reported once, with all that
// is true by then; a read is short only when it has emptied the socket or meets an urgent byte; a
// peer that takes more again is an edge only for who has run into the bound. It aborts on
// what a program must not do: a call on a closed descriptor, a write behind shutdown(SHUT_WR), a
// descriptor that is closed while epoll watches it.
//
// Threads: one; while it lives, the calls of that thread on its descriptors are its own.
#pragma once

#include <sys/epoll.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hrmr::fuzz {

// The clock of the wall stands still.
inline constexpr time_t kWallS = 1'000'000;

struct Socket {
  int fd = -1;
  // From the peer.
  std::string_view sent;         // all that it will ever send
  size_t arrived = 0;            // of it, in the kernel
  size_t read = 0;               // of it, by the engine
  size_t urgent_at = SIZE_MAX;   // a read that begins before it stops there
  bool has_end = false;          // the peer has half-closed, behind `arrived`
  bool is_reset = false;         // the peer is gone
  bool interrupts_read = false;  // the next one fails with EINTR
  bool has_told_reset = false;
  // To the peer.
  std::string taken;
  size_t taken_before_end = SIZE_MAX;  // when all was quiet, before the peer half-closed
  size_t window = SIZE_MAX;            // so much more is taken
  bool has_unacknowledged = false;     // what SIOCOUTQ says
  bool interrupts_write = false;
  bool is_broken = false;    // writes fail with EPIPE from now on
  bool loses_file = false;   // files have become shorter than they were
  bool lacks_files = false;  // no sendfile: EINVAL
  // What the engine has done.
  bool is_open = true;
  bool is_shut = false;
  bool is_aborted = false;
};

// Makes things happen. Called from within epoll_wait.
class Player {
 public:
  // One step more. `limit_ms`: how long the engine would wait, -1 for ever; what is ready, if
  // anything is, is delivered behind the step. False: nothing happens any more by itself.
  virtual bool step(int limit_ms) = 0;

 protected:
  ~Player() = default;
};

class Kernel {
 public:
  explicit Kernel(Player& player);
  ~Kernel();
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  Socket& open_socket(std::string_view sent);
  // Something about the socket has changed that epoll has to look at.
  void edge(const Socket& socket, uint32_t also = 0);
  void arrive(Socket& socket, size_t bytes);
  void open_window(Socket& socket, size_t bytes);
  void pass(uint64_t ms) { now_ms_ += ms; }
  uint64_t now_ms() const { return now_ms_; }
  void reverse_order() { is_reversed_ = !is_reversed_; }
  void interrupt_wait() { interrupts_wait_ = true; }
  // No file is in the page cache, whoever has read it, or all are.
  void turn_cold() { are_files_cold_ = !are_files_cold_; }
  bool has_open() const;  // any descriptor of it
  bool has_edges() const { return !ready_.empty(); }

  // The system calls. -1 and errno as the manual pages say.
  static Kernel* current();
  bool owns(int fd) const { return watched_.count(fd) != 0; }
  int make(bool is_eventfd);
  int close(int fd);
  int control(int operation, int fd, const epoll_event* event);
  int wait(epoll_event* events, int most, int limit_ms);
  ssize_t receive(int fd, char* room, size_t bytes);
  ssize_t send(int fd, const char* bytes, size_t size);
  ssize_t send_file(int fd, int file, off_t* offset, size_t size);
  ssize_t read_file(int file, const iovec* room, off_t offset, int flags) const;
  int shut_down(int fd, int how);
  int disconnect(int fd);
  int set_option(int fd);  // no matter which one
  int unsent(int fd);
  ssize_t wake(int fd);

 private:
  struct Watched {
    bool is_open = true;
    bool is_added = false;
    bool is_eventfd = false;
    bool has_edge = false;
    uint32_t also = 0;  // events that are reported once
    epoll_event event{};
    Socket* socket = nullptr;
    bool lacks_space = false;  // a write or epoll has run into the bound
  };

  Watched& open_one(int fd);
  Socket& socket_of(int fd);
  void mark(int fd, Watched& watched);
  static uint32_t readiness(const Watched& watched);
  int deliver(epoll_event* events, int most);

  Player& player_;
  uint64_t now_ms_ = 1'000'000;
  int next_fd_ = 1'000'000;  // far from those that the process has
  bool is_reversed_ = false;
  bool interrupts_wait_ = false;
  bool are_files_cold_ = false;
  std::map<int, Watched> watched_;
  std::map<int, Socket> sockets_;
  std::vector<int> ready_;  // in the order of their edges
};

}  // namespace hrmr::fuzz
