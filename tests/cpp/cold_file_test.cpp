// Files in replies that are not in the page cache: the loop does not wait for the disk. The disk is
// played, so that it can stand still; the linker's --wrap sends preadv2(2), mincore(2) and
// sendfile(2) here. The last case is about a real one.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "eventually.h"
#include "file_shop.h"
#include "net/page_cache.h"
#include "running_server.h"

using namespace hrmr;
using namespace hrmr::test;
using modules::RouteFraming;

extern "C" {
ssize_t __real_preadv2(int fd, const iovec* room, int rooms, off_t offset, int flags);
ssize_t __real_sendfile(int socket, int file, off_t* offset, size_t bytes);
int __real_mincore(void* map, size_t size, unsigned char* told);
}

namespace {

constexpr off_t kPageBytes = 4096;
constexpr size_t kMegabyte = 1024 * 1024;

bool is_on_loop() {
  char name[16] = {};
  pthread_getname_np(pthread_self(), name, sizeof name);
  return std::string_view(name).starts_with("hrmr-loop");
}

// The disk of one file, and its page cache, which has what was read from the disk.
class Disk {
 public:
  // To a read, to a map, or neither; or it is the real one, and its calls are counted.
  enum class Tells : uint8_t { kReads, kMaps, kNothing, kReal };

  void begin(Tells tells) {
    const std::lock_guard lock(mutex_);
    is_watched_ = true;
    tells_ = tells;
    stands_still_ = fails_ = false;
    pages_.clear();
    counts_ = {};
  }
  void end() {
    go_on();
    is_watched_ = false;
  }
  // Other tests count the locks that are taken.
  bool is_watched() const { return is_watched_; }
  void stand_still() {
    const std::lock_guard lock(mutex_);
    stands_still_ = true;
  }
  void go_on() {
    const std::lock_guard lock(mutex_);
    stands_still_ = false;
    moved_.notify_all();
  }
  void fail() {
    const std::lock_guard lock(mutex_);
    fails_ = true;
  }
  void forget_pages() {
    const std::lock_guard lock(mutex_);
    pages_.clear();
  }

  struct Counts {
    size_t looks = 0;            // into the page cache
    size_t bytes_read = 0;       // by workers, all in all
    size_t reads_on_loop = 0;    // calls
    size_t pages_on_loop = 0;    // that sendfile had to fetch
    size_t reads_that_wait = 0;  // now
    size_t full = 0;             // a socket took nothing
  };
  Counts counts() {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

  ssize_t look(int fd, const iovec* room, off_t offset) {
    std::unique_lock lock(mutex_);
    ++counts_.looks;
    const bool is_there = pages_.count(offset / kPageBytes) != 0;
    const Tells tells = tells_;
    lock.unlock();
    if (tells == Tells::kReal) return __real_preadv2(fd, room, 1, offset, RWF_NOWAIT);
    if (tells != Tells::kReads) return fail_with(EOPNOTSUPP);
    const ssize_t got = __real_preadv2(fd, room, 1, offset, 0);
    return is_there || got <= 0 ? got : fail_with(EAGAIN);
  }

  int look_through_map(void* map, size_t size, unsigned char* told) {
    const std::lock_guard lock(mutex_);
    ++counts_.looks;
    if (tells_ == Tells::kReal) return __real_mincore(map, size, told);
    const off_t first = offset_of(map) / kPageBytes;
    const off_t count = (static_cast<off_t>(size) + kPageBytes - 1) / kPageBytes;
    for (off_t i = 0; i < count; ++i) {
      // A kernel that does not want to tell says that all is there.
      told[i] = tells_ == Tells::kNothing || pages_.count(first + i) != 0 ? 1 : 0;
    }
    return 0;
  }

  ssize_t read(int fd, const iovec* room, off_t offset) {
    std::unique_lock lock(mutex_);
    if (is_on_loop()) ++counts_.reads_on_loop;
    ++counts_.reads_that_wait;
    moved_.wait(lock, [this] { return !stands_still_; });
    --counts_.reads_that_wait;
    if (fails_) return fail_with(EIO);
    const ssize_t got = __real_preadv2(fd, room, 1, offset, 0);
    if (got > 0) counts_.bytes_read += static_cast<size_t>(got);
    if (got > 0) (void)fetch(offset, got);
    return got;
  }

  ssize_t send(int socket, int file, off_t* offset, size_t bytes) {
    const off_t before = *offset;
    const ssize_t sent = __real_sendfile(socket, file, offset, bytes);
    const int code = errno;
    {
      const std::lock_guard lock(mutex_);
      // All that it was allowed to: how much the socket takes is chance.
      const size_t fetched = fetch(before, static_cast<off_t>(bytes));
      if (is_on_loop()) counts_.pages_on_loop += fetched;
      if (sent < 0 && code == EAGAIN) ++counts_.full;
    }
    errno = code;
    return sent;
  }

 private:
  static ssize_t fail_with(int code) {
    errno = code;
    return -1;
  }
  // Where in its file a map begins.
  static off_t offset_of(const void* map) {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      unsigned long begin = 0;
      unsigned long end = 0;
      unsigned long offset = 0;
      if (std::sscanf(line.c_str(), "%lx-%lx %*s %lx", &begin, &end, &offset) != 3) continue;
      const auto place = reinterpret_cast<uintptr_t>(map);
      if (place >= begin && place < end) return static_cast<off_t>(offset + (place - begin));
    }
    return -1;
  }
  // Pages that were not there.
  size_t fetch(off_t offset, off_t bytes) {
    size_t count = 0;
    if (tells_ == Tells::kReal) return count;
    for (off_t page = offset / kPageBytes; page * kPageBytes < offset + bytes; ++page) {
      if (pages_.insert(page).second) ++count;
    }
    return count;
  }

  std::mutex mutex_;
  std::condition_variable moved_;
  std::atomic<bool> is_watched_{false};
  Tells tells_ = Tells::kReal;
  bool stands_still_ = false;
  bool fails_ = false;
  std::set<off_t> pages_;
  Counts counts_;
} disk;

// As long as it lives, files are on this disk.
struct OnDisk {
  explicit OnDisk(Disk::Tells tells = Disk::Tells::kReads) { disk.begin(tells); }
  ~OnDisk() { disk.end(); }
  OnDisk(const OnDisk&) = delete;
  OnDisk& operator=(const OnDisk&) = delete;
};

bool a_read_waits() {
  return eventually([] { return disk.counts().reads_that_wait != 0; });
}

std::vector<Spec> specs(const Shop& shop) {
  return {{"GET /", Run::kInline, send_ranges, &shop, RouteFraming::kHttp},
          {"FILE ", Run::kInline, send_ranges, &shop},
          {"POOL ", Run::kPool, say, "pool"},
          {"PING", Run::kInline, say, "pong"}};
}

server::Options one_loop() {
  server::Options options;
  options.loops = 1;
  return options;
}

void check_alive(const Running& running) {
  Client other = running.client();
  other.send("PING\nPING\n");
  CHECK(other.line() == "pong\n");
  CHECK(other.line() == "pong\n");
}

// Whose answer has begun, and goes on once the disk does.
Client stuck_client(const Running& running, const std::string& asked) {
  disk.stand_still();
  Client client = running.client();
  client.send(asked);
  client.await_answer();
  REQUIRE(a_read_waits());
  return client;
}

}  // namespace

extern "C" {

ssize_t __wrap_preadv2(int fd, const iovec* room, int rooms, off_t offset, int flags) {
  if (rooms != 1 || !disk.is_watched()) return __real_preadv2(fd, room, rooms, offset, flags);
  return (flags & RWF_NOWAIT) != 0 ? disk.look(fd, room, offset) : disk.read(fd, room, offset);
}

int __wrap_mincore(void* map, size_t size, unsigned char* told) {
  return disk.is_watched() ? disk.look_through_map(map, size, told)
                           : __real_mincore(map, size, told);
}

ssize_t __wrap_sendfile(int socket, int file, off_t* offset, size_t bytes) {
  return disk.is_watched() ? disk.send(socket, file, offset, bytes)
                           : __real_sendfile(socket, file, offset, bytes);
}

}  // extern "C"

TEST_CASE("what is not in the page cache is read by a worker, and every byte arrives") {
  for (const auto tells : {Disk::Tells::kReads, Disk::Tells::kMaps, Disk::Tells::kNothing}) {
    const OnDisk here(tells);
    const Shop shop(noise(5 * kMegabyte + 17));
    const Running running(specs(shop), one_loop());
    for (const char* range : {"0/1", "0/5242897", "4095/2", "131071/262146", "1048575/3145730",
                              "5242896/1", "3000000/2242897"}) {
      CAPTURE(std::string(range));
      disk.forget_pages();
      const std::vector<uint64_t> numbers = numbers_of(bytes(range));
      const std::string expected = shop.content.substr(numbers[0], numbers[1]);
      const size_t read_before = disk.counts().bytes_read;
      CHECK(body_of(ask(running, "/" + std::string(range))) == "[" + expected + "]");
      CHECK(disk.counts().bytes_read - read_before >= expected.size());
    }
    disk.forget_pages();
    CHECK(body_of(ask(running, "/5000000/242897/0/3000000/2999999/2")) ==
          "[" + shop.content.substr(5000000) + "][" + shop.content.substr(0, 3000000) + "][" +
              shop.content.substr(2999999, 2) + "]");
    CHECK(disk.counts().reads_on_loop == 0);
    CHECK(disk.counts().pages_on_loop == 0);
    CHECK(eventually([&] { return descriptors_of(shop) == 1; }));
  }
}

TEST_CASE("what is in the page cache is sent without a worker") {
  for (const auto tells : {Disk::Tells::kReads, Disk::Tells::kMaps}) {
    const OnDisk here(tells);
    const Shop shop(noise(3 * kMegabyte));
    const Running running(specs(shop), one_loop());
    CHECK(body_of(ask(running, "/0/3145728")) == "[" + shop.content + "]");
    const Disk::Counts before = disk.counts();
    CHECK(body_of(ask(running, "/0/3145728")) == "[" + shop.content + "]");
    CHECK(disk.counts().bytes_read == before.bytes_read);
    CHECK(disk.counts().pages_on_loop == 0);
    CHECK(disk.counts().looks > before.looks);
  }
}

TEST_CASE("replies keep their order around a file that is waited for") {
  const OnDisk here;
  const Shop shop(noise(3 * kMegabyte));
  const Running running(specs(shop), one_loop());
  disk.stand_still();
  Client client = running.client();
  client.send("PING\nFILE 0/3145728\nPOOL 1\nFILE 100/100\nPING\n");
  client.finish();
  CHECK(client.line() == "pong\n");
  REQUIRE(a_read_waits());
  disk.go_on();
  CHECK(client.rest() ==
        "[" + shop.content + "]pool1\n[" + shop.content.substr(100, 100) + "]pong\n");
}

TEST_CASE("the loop serves others while the disk stands still") {
  const OnDisk here;
  const Shop shop(noise(2 * kMegabyte));
  const Running running(specs(shop), one_loop());
  disk.stand_still();
  std::vector<Client> clients;
  for (int i = 0; i < 20; ++i) {  // more than there are workers
    clients.push_back(running.client());
    clients.back().send(get("/0/2097152", "Connection: close\r\n"));
  }
  REQUIRE(a_read_waits());
  for (int i = 0; i < 20; ++i) check_alive(running);
  disk.go_on();
  for (Client& client : clients) CHECK(body_of(client.rest()) == "[" + shop.content + "]");
  CHECK(disk.counts().pages_on_loop == 0);
}

TEST_CASE("no timeout of a peer counts the time of the disk") {
  const OnDisk here;
  const Shop shop(noise(24 * kMegabyte));
  server::Options options = one_loop();
  options.timeouts.write_ms = options.timeouts.idle_ms = 1000;
  const Running running(specs(shop), options);
  Client client = running.client();
  client.send(get("/0/25165824", "Connection: close\r\n"));
  client.await_answer();
  // The peer takes nothing, so that the write timeout runs; then it takes all there is.
  REQUIRE(eventually([] { return disk.counts().full != 0; }));
  disk.forget_pages();
  disk.stand_still();
  std::string response;
  std::thread reader([&] { response = client.rest(); });
  CHECK(a_read_waits());
  for (int i = 0; i < 3; ++i) {  // the server closes it after the same time
    Client idle = running.client();
    idle.send("PING\n");
    CHECK(idle.rest() == "pong\n");
  }
  disk.go_on();
  reader.join();
  CHECK(body_of(response) == "[" + shop.content + "]");
}

TEST_CASE("a client that goes while its file is read leaves nothing") {
  const OnDisk here;
  const Shop shop(noise(4 * kMegabyte));
  const Running running(specs(shop), one_loop());
  check_alive(running);
  CHECK(eventually([&] { return running.server->server_facts().connections == 0; }));
  const size_t before = open_descriptors();
  for (const bool is_reset : {false, true}) {
    disk.forget_pages();
    disk.stand_still();
    const size_t read_before = disk.counts().bytes_read;
    std::vector<Client> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(running.client());
      clients.back().send(get("/0/4194304/0/4194304"));
    }
    for (Client& client : clients) client.await_answer();
    REQUIRE(a_read_waits());
    for (Client& client : clients) {
      if (is_reset) {
        client.reset();
      } else {
        client = Client(Fd());
      }
    }
    check_alive(running);
    disk.go_on();
    CHECK(eventually([&] { return running.server->server_facts().connections == 0; }));
    CHECK(eventually([&] { return open_descriptors() == before; }));
    CHECK(disk.counts().bytes_read - read_before <= 8 * 4 * kMegabyte);
  }
  check_alive(running);
}

TEST_CASE("a shutdown waits for a file that is read, and sends it whole") {
  const OnDisk here;
  const Shop shop(noise(3 * kMegabyte));
  const Running running(specs(shop), one_loop());
  Client client = stuck_client(running, get("/0/3145728"));
  running.server->begin_shutdown();
  disk.go_on();
  CHECK(body_of(client.rest()) == "[" + shop.content + "]");
}

TEST_CASE("a shutdown that has waited long enough closes, and ends once the disk is back") {
  const OnDisk here;
  const Shop shop(noise(3 * kMegabyte));
  server::Options options = one_loop();
  options.drain_timeout_ms = 50;
  const Running running(specs(shop), options);
  Client client = stuck_client(running, get("/0/3145728"));
  CHECK_FALSE(running.server->stop());
  const std::string response = client.rest();
  CHECK(contains(response, "\r\nContent-Length: 3145730\r\n"));
  CHECK(response.size() < 1000);
  disk.go_on();
  CHECK(eventually([&] { return running.server->stop(); }));
}

TEST_CASE("a file that becomes shorter while it is read breaks the connection") {
  const OnDisk here;
  const Shop shop(noise(4 * kMegabyte));
  const Running running(specs(shop), one_loop());
  Client client = stuck_client(running, get("/0/4194304") + get("/0/1"));
  REQUIRE(::truncate(shop.path().c_str(), kMegabyte / 2) == 0);
  disk.go_on();
  const std::string response = client.rest();
  const std::string body = response.substr(response.find("\r\n\r\n") + 5);
  CHECK(body == shop.content.substr(0, kMegabyte / 2));
  CHECK(eventually([&] { return descriptors_of(shop) == 1; }));
  check_alive(running);
}

TEST_CASE("a file that cannot be read breaks the connection") {
  const OnDisk here;
  const Shop shop(noise(4 * kMegabyte));
  const Running running(specs(shop), one_loop());
  disk.fail();
  const std::string response = ask(running, "/0/4194304");
  CHECK(response.substr(response.find("\r\n\r\n")) == "\r\n\r\n[");
  CHECK(eventually([&] { return descriptors_of(shop) == 1; }));
  check_alive(running);
}

TEST_CASE("the loop reads by itself when no worker can be asked") {
  const OnDisk here;
  const Shop shop(noise(3 * kMegabyte));
  server::Options options = one_loop();
  options.threads = 1;
  options.queue_slots = 2;
  const Running running(specs(shop), options);
  disk.stand_still();
  std::vector<Client> waiting;
  // One is with the worker, the others are in the queue.
  for (size_t i = 0; i < 3; ++i) {
    waiting.push_back(running.client());
    waiting.back().send(get("/0/100", "Connection: close\r\n"));
    REQUIRE(a_read_waits());
    REQUIRE(eventually([&] { return running.server->pool(Run::kPool).queued() == i; }));
  }
  CHECK(body_of(ask(running, "/0/3145728")) == "[" + shop.content + "]");
  CHECK(disk.counts().pages_on_loop != 0);
  disk.go_on();
  for (Client& client : waiting) {
    CHECK(body_of(client.rest()) == "[" + shop.content.substr(0, 100) + "]");
  }
}

TEST_CASE("a file that is nowhere but in memory is always ready") {
  FileRange range;
  range.fd = Fd(::memfd_create("cold", MFD_CLOEXEC));
  REQUIRE(::ftruncate(range.fd.get(), 3000) == 0);
  range.left = 3000;
  CHECK(net::bytes_ready(range, 1000) == 1000);
  CHECK(net::bytes_ready(range, 5000) == 3000);
}

TEST_CASE("a real file that was thrown out of the page cache arrives, read by workers") {
  const Shop shop(noise(6 * kMegabyte + 5));
  const Running running(specs(shop), one_loop());
  const Fd file(::open(shop.path().c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(::fdatasync(file.get()) == 0);
  for (const char* range : {"0/6291461", "777777/4000000"}) {
    const OnDisk counted(Disk::Tells::kReal);
    REQUIRE(::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED) == 0);
    char byte = 0;
    const iovec room{&byte, 1};
    const bool is_out =
        __real_preadv2(file.get(), &room, 1, 3 * kMegabyte, RWF_NOWAIT) < 0 && errno == EAGAIN;
    const std::vector<uint64_t> numbers = numbers_of(bytes(range));
    const std::string expected = shop.content.substr(numbers[0], numbers[1]);
    CHECK(body_of(ask(running, "/" + std::string(range))) == "[" + expected + "]");
    CHECK(disk.counts().reads_on_loop == 0);
    if (is_out) {
      CHECK(disk.counts().bytes_read != 0);
    } else {
      MESSAGE("this file system throws nothing out, or does not tell");
    }
  }
}
