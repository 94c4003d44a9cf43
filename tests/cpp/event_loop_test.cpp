#include "net/event_loop.h"

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "eventually.h"

namespace {

using hrmr::Fd;
using hrmr::monotonic_ms;
using hrmr::net::EventLoop;
using hrmr::net::Letter;
using hrmr::net::Retired;
using hrmr::net::Source;
using hrmr::net::Timer;
using hrmr::test::eventually;
using hrmr::test::kPatienceMs;

struct TestLetter final : Letter {
  TestLetter() = default;
  explicit TestLetter(std::function<void()> given) : then(std::move(given)) {}
  void on_delivery() override { then(); }
  std::function<void()> then;
};

struct TestTimer final : Timer {
  void on_timer() override { then(); }
  std::function<void()> then;
};

struct TestRetired final : Retired {
  explicit TestRetired(std::function<void()> given) : then(std::move(given)) {}
  ~TestRetired() override { then(); }
  std::function<void()> then;
};

// An eventfd and what happens when it is readable or scheduled.
struct TestSource final : Source {
  explicit TestSource(EventLoop& given) : loop(given), fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    REQUIRE(loop.add(fd.get(), *this, EPOLLIN | EPOLLET).is_ok());
    is_added = true;
  }
  ~TestSource() { remove(); }
  void remove() {
    if (is_added) loop.remove(fd.get(), *this);
    is_added = false;
  }
  void make_ready() const { REQUIRE(eventfd_write(fd.get(), 1) == 0); }
  void on_event(uint32_t events) override {
    seen.push_back(events);
    if (then) then();
  }
  EventLoop& loop;
  Fd fd;
  bool is_added = false;
  std::vector<uint32_t> seen;
  std::function<void()> then;
};

// How often this process's eventfds have been written to, as far as they were not read.
uint64_t eventfd_writes() {
  uint64_t writes = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
    std::ifstream file(entry.path());
    for (std::string word; file >> word;) {
      uint64_t count = 0;
      if (word == "eventfd-count:" && file >> std::hex >> count) writes += count;
    }
  }
  return writes;
}

// A loop that runs on the test's thread, so that what happens in which turn is certain. A bug that
// leaves it asleep is a failed check, not a hang.
struct LocalLoop {
  LocalLoop() {
    REQUIRE(loop.open().is_ok());
    guard.then = [this] {
      has_hung = true;
      loop.stop();
    };
  }
  void run() {
    loop.timers().arm(guard, kPatienceMs);
    loop.run();
    CHECK_FALSE(has_hung);
  }
  EventLoop loop{0};
  TestTimer guard;
  bool has_hung = false;
};

// A loop on a thread of its own.
struct ThreadLoop {
  ThreadLoop() {
    REQUIRE(loop.open().is_ok());
    thread = std::thread([this] { loop.run(); });
  }
  ~ThreadLoop() { stop(); }
  void stop() {
    loop.stop();
    if (thread.joinable()) thread.join();
  }
  EventLoop loop{0};
  std::thread thread;
};

}  // namespace

TEST_CASE("letters of each poster arrive once and in order") {
  constexpr size_t kPosters = 3;
  constexpr size_t kLetters = 4000;
  struct Numbered final : Letter {
    void on_delivery() override { seen->push_back(number); }
    std::vector<size_t>* seen = nullptr;
    size_t number = 0;
  };
  std::array<std::vector<size_t>, kPosters> seen;
  std::vector<std::vector<Numbered>> letters(kPosters);
  ThreadLoop running;
  std::vector<std::thread> posters;
  for (size_t poster = 0; poster < kPosters; ++poster) {
    letters[poster] = std::vector<Numbered>(kLetters);
    posters.emplace_back([&, poster] {
      for (size_t i = 0; i < kLetters; ++i) {
        letters[poster][i].seen = &seen[poster];
        letters[poster][i].number = i;
        running.loop.post(letters[poster][i]);
        // So that the loop falls asleep now and then.
        if (i % 64 == 0) std::this_thread::yield();
      }
    });
  }
  for (std::thread& poster : posters) poster.join();
  running.stop();
  for (const auto& numbers : seen) {
    REQUIRE(numbers.size() == kLetters);
    bool is_ordered = true;
    for (size_t i = 0; i < kLetters; ++i) is_ordered = is_ordered && numbers[i] == i;
    CHECK(is_ordered);
  }
}

TEST_CASE("a letter to a sleeping loop is delivered") {
  ThreadLoop running;
  std::atomic<int> delivered{0};
  TestLetter letter([&] { ++delivered; });
  for (int round = 1; round <= 3000; ++round) {
    running.loop.post(letter);
    REQUIRE(eventually([&] { return delivered == round; }));
  }
}

TEST_CASE("a letter to a loop that is just falling asleep is delivered") {
  // The next letter follows the last one's delivery by a few instructions more in each round, so
  // that some hit the loop between its look at the mailbox and its sleep.
  ThreadLoop running;
  std::atomic<int> delivered{0};
  TestLetter letter([&] { ++delivered; });
  for (int round = 1; round <= 60000; ++round) {
    running.loop.post(letter);
    for (int spins = 0; spins < 20000 && delivered.load() != round; ++spins) {
    }
    REQUIRE(eventually([&] { return delivered == round; }));
    for (int i = 0; i < round % 64; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
  }
}

TEST_CASE("posting to a loop that is awake makes no system call") {
  LocalLoop local;
  std::vector<TestLetter> letters(100, TestLetter([] {}));
  uint64_t before = 0;
  uint64_t after = 1;
  TestLetter begin([&] {
    before = eventfd_writes();
    for (size_t i = 0; i < 50; ++i) local.loop.post(letters[i]);
    std::thread other([&] {
      for (size_t i = 50; i < letters.size(); ++i) local.loop.post(letters[i]);
    });
    other.join();
    after = eventfd_writes();
    local.loop.stop();
  });
  local.loop.post(begin);
  local.run();
  CHECK(after == before);
}

TEST_CASE("two loops hand a letter to and fro") {
  ThreadLoop left;
  ThreadLoop right;
  std::atomic<int> hops{0};
  TestLetter letter;
  letter.then = [&] {
    if (++hops < 4000) (left.loop.is_current_thread() ? right : left).loop.post(letter);
  };
  left.loop.post(letter);
  CHECK(eventually([&] { return hops == 4000; }));
  left.stop();
  right.stop();
}

TEST_CASE("a letter posted from a delivery comes in the next turn") {
  LocalLoop local;
  std::string diary;
  TestLetter letter;
  letter.then = [&] {
    diary += 'L';
    local.loop.retire_later(new TestRetired([&] { diary += '.'; }));  // the turn's end
    if (diary.size() < 6) {
      local.loop.post(letter);
    } else {
      local.loop.stop();
    }
  };
  local.loop.post(letter);
  local.run();
  CHECK(diary == "L.L.L.L.");
}

TEST_CASE("a letter may delete itself") {
  struct OneShot final : Letter {
    OneShot(EventLoop& given, int& given_ends) : loop(given), ends(given_ends) {}
    ~OneShot() {
      if (++ends == 3) loop.stop();
    }
    void on_delivery() override { delete this; }
    EventLoop& loop;
    int& ends;
  };
  LocalLoop local;
  int ends = 0;
  for (int i = 0; i < 3; ++i) local.loop.post(*new OneShot(local.loop, ends));
  local.run();
  CHECK(ends == 3);
}

TEST_CASE("stop comes after the letters posted before it, and may be called twice") {
  LocalLoop local;
  int delivered = 0;
  std::vector<TestLetter> letters(10, TestLetter([&] { ++delivered; }));
  for (TestLetter& letter : letters) local.loop.post(letter);
  local.loop.stop();
  local.loop.stop();
  local.run();
  CHECK(delivered == 10);
}

TEST_CASE("a stop from another thread wakes the loop") {
  for (int round = 0; round < 100; ++round) {
    ThreadLoop running;
    if (round % 2 == 0) std::this_thread::yield();
    running.stop();
  }
}

TEST_CASE("an event reaches its source with its bits") {
  LocalLoop local;
  int ends[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
  Fd ours(ends[0]);
  Fd theirs(ends[1]);
  struct Reader final : Source {
    void on_event(uint32_t events) override { then(events); }
    std::function<void(uint32_t)> then;
  } reader;
  std::vector<uint32_t> seen;
  reader.then = [&](uint32_t events) {
    seen.push_back(events);
    if (seen.size() == 1) REQUIRE(write(theirs.get(), "x", 1) == 1);
    if (seen.size() == 2) REQUIRE(shutdown(theirs.get(), SHUT_WR) == 0);
    if (seen.size() == 3) local.loop.stop();
  };
  constexpr uint32_t kWatched = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  REQUIRE(local.loop.add(ours.get(), reader, kWatched).is_ok());
  local.run();
  REQUIRE(seen.size() == 3);
  CHECK(seen[0] == EPOLLOUT);
  CHECK(seen[1] == (EPOLLIN | EPOLLOUT));
  CHECK(seen[2] == (EPOLLIN | EPOLLOUT | EPOLLRDHUP));
  local.loop.remove(ours.get(), reader);
}

TEST_CASE("watching a descriptor that cannot be watched is an error that names it") {
  LocalLoop local;
  TestSource source(local.loop);
  const hrmr::Status twice = local.loop.add(source.fd.get(), source, EPOLLIN);
  CHECK(twice.message() ==
        "cannot watch descriptor " + std::to_string(source.fd.get()) + ": File exists");
  CHECK_FALSE(local.loop.modify(-1, source, EPOLLIN).is_ok());
}

TEST_CASE("a changed watch reports what is ready already") {
  LocalLoop local;
  TestSource source(local.loop);
  source.then = [&] {
    if (source.seen.size() == 1) {
      REQUIRE(local.loop.modify(source.fd.get(), source, EPOLLIN | EPOLLOUT | EPOLLET).is_ok());
    } else {
      local.loop.stop();
    }
  };
  source.make_ready();
  local.run();
  CHECK(source.seen == std::vector<uint32_t>{EPOLLIN, EPOLLIN | EPOLLOUT});
}

TEST_CASE("an event of a source that was removed earlier in the turn is not delivered") {
  LocalLoop local;
  std::vector<std::unique_ptr<TestSource>> sources;
  size_t events = 0;
  for (int i = 0; i < 5; ++i) sources.push_back(std::make_unique<TestSource>(local.loop));
  for (size_t i = 0; i < sources.size(); ++i) {
    sources[i]->make_ready();
    sources[i]->then = [&, i] {
      ++events;
      // All the others go, and their memory with them.
      for (size_t k = 0; k < sources.size(); ++k) {
        if (k != i) sources[k].reset();
      }
      local.loop.stop();
    };
  }
  local.run();
  CHECK(events == 1);
}

TEST_CASE("a source that was removed and added again in a turn gets no event of the old life") {
  LocalLoop local;
  TestSource left(local.loop);
  TestSource right(local.loop);
  const auto replace = [&](TestSource& other) {
    other.remove();
    other.fd.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    REQUIRE(local.loop.add(other.fd.get(), other, EPOLLIN | EPOLLET).is_ok());
    other.is_added = true;
    local.loop.stop();
  };
  left.then = [&] { replace(right); };
  right.then = [&] { replace(left); };
  left.make_ready();
  right.make_ready();
  local.run();
  CHECK(left.seen.size() + right.seen.size() == 1);
}

TEST_CASE("a retired object lives until the end of the turn") {
  LocalLoop local;
  std::string diary;
  TestSource left(local.loop);
  TestSource right(local.loop);
  for (TestSource* source : {&left, &right}) {
    source->make_ready();
    source->then = [&] {
      diary += 'e';
      local.loop.retire_later(new TestRetired([&] {
        diary += 'r';
        // Retired by a destructor: freed too.
        if (diary.size() == 4) local.loop.retire_later(new TestRetired([&] { diary += 'R'; }));
      }));
    };
  }
  TestLetter letter([&] { diary += 'l'; });
  local.loop.post(letter);
  local.loop.stop();
  local.run();
  CHECK(diary == "eelrRr");
}

TEST_CASE("what is retired when no turn follows is freed with the loop") {
  bool is_freed = false;
  {
    EventLoop loop(0);
    loop.retire_later(new TestRetired([&] { is_freed = true; }));
    CHECK_FALSE(is_freed);
  }
  CHECK(is_freed);
}

TEST_CASE("a scheduled source gets one turn, without waiting, however often it asked") {
  LocalLoop local;
  TestSource source(local.loop);
  TestTimer stop;
  stop.then = [&] { local.loop.stop(); };
  source.then = [&] { local.loop.timers().arm(stop, 50); };
  local.loop.schedule(source);
  local.loop.schedule(source);
  local.run();
  CHECK(source.seen == std::vector<uint32_t>{0});
}

TEST_CASE("a source that schedules itself goes on in the next turn, after the others") {
  LocalLoop local;
  std::string diary;
  TestSource left(local.loop);
  TestSource right(local.loop);
  const auto go_on = [&](TestSource& source, char name) {
    diary += name;
    local.loop.retire_later(new TestRetired([&] { diary += '.'; }));
    local.loop.schedule(source);
    if (diary.size() >= 12) local.loop.stop();
  };
  left.then = [&] { go_on(left, 'a'); };
  right.then = [&] { go_on(right, 'b'); };
  local.loop.schedule(left);
  local.loop.schedule(right);
  local.run();
  CHECK(diary.substr(0, 12) == "ab..ab..ab..");
}

TEST_CASE("a source that is removed or destroyed leaves the schedule") {
  LocalLoop local;
  TestSource first(local.loop);
  TestSource removed_before(local.loop);
  TestSource removed_meanwhile(local.loop);
  auto destroyed_meanwhile = std::make_unique<TestSource>(local.loop);
  TestSource last(local.loop);
  bool has_run_destroyed = false;
  destroyed_meanwhile->then = [&] { has_run_destroyed = true; };
  first.then = [&] {
    removed_meanwhile.remove();
    destroyed_meanwhile.reset();
  };
  last.then = [&] { local.loop.stop(); };
  for (TestSource* source :
       {&first, &removed_before, &removed_meanwhile, destroyed_meanwhile.get(), &last}) {
    local.loop.schedule(*source);
  }
  removed_before.remove();
  local.run();
  CHECK(first.seen.size() == 1);
  CHECK(removed_before.seen.empty());
  CHECK(removed_meanwhile.seen.empty());
  CHECK_FALSE(has_run_destroyed);
  CHECK(last.seen.size() == 1);
}

TEST_CASE("more ready sources than one wait returns all get their event") {
  LocalLoop local;
  std::vector<std::unique_ptr<TestSource>> sources;
  size_t events = 0;
  constexpr size_t kSources = hrmr::limits::kEventsPerTurn * 2 + 1;
  for (size_t i = 0; i < kSources; ++i) {
    sources.push_back(std::make_unique<TestSource>(local.loop));
    sources.back()->make_ready();
    sources.back()->then = [&] {
      if (++events == kSources) local.loop.stop();
    };
  }
  local.run();
  CHECK(events == kSources);
}

TEST_CASE("the loop's timers fire in their order and not before their time") {
  LocalLoop local;
  std::string diary;
  uint64_t armed_at = 0;
  uint64_t early_ms = 0;
  std::array<TestTimer, 3> timers;
  const std::array<uint64_t, 3> delays{60, 1, 25};
  for (size_t i = 0; i < timers.size(); ++i) {
    timers[i].then = [&, i] {
      diary += static_cast<char>('0' + i);
      const uint64_t due = armed_at + delays[i];
      if (monotonic_ms() < due) early_ms += due - monotonic_ms();
      if (diary.size() == 3) local.loop.stop();
    };
  }
  TestLetter begin([&] {
    armed_at = local.loop.now_ms();
    for (size_t i = 0; i < timers.size(); ++i) local.loop.timers().arm(timers[i], delays[i]);
  });
  local.loop.post(begin);
  local.run();
  CHECK(diary == "120");
  CHECK(early_ms == 0);
}

TEST_CASE("a timer's delay counts from the turn it was armed in, not from an earlier one") {
  LocalLoop local;
  bool has_fired_early = true;
  uint64_t armed_at = 0;
  TestTimer timer;
  timer.then = [&] {
    has_fired_early = monotonic_ms() < armed_at + 100;
    local.loop.stop();
  };
  TestLetter second([&] {
    armed_at = local.loop.now_ms();
    local.loop.timers().arm(timer, 100);
  });
  TestLetter first([&] {
    const uint64_t end_ms = monotonic_ms() + 60;  // a turn that takes its time
    while (monotonic_ms() < end_ms) {
    }
    local.loop.post(second);
  });
  local.loop.post(first);
  local.run();
  CHECK_FALSE(has_fired_early);
}

TEST_CASE("a loop knows its own thread") {
  ThreadLoop running;
  CHECK_FALSE(running.loop.is_current_thread());
  std::atomic<int> answer{-1};
  TestLetter letter([&] { answer = running.loop.is_current_thread() ? 1 : 0; });
  running.loop.post(letter);
  REQUIRE(eventually([&] { return answer != -1; }));
  CHECK(answer == 1);
  running.stop();
}

TEST_CASE("letters that came too late for a loop that has run are told so, once") {
  struct LateLetter final : Letter {
    void on_delivery() override { ++delivered; }
    void on_undelivered() override { ++undelivered; }
    int delivered = 0;
    int undelivered = 0;
  };
  LateLetter in_time;
  LateLetter late[2];
  EventLoop loop(0);
  REQUIRE(loop.open().is_ok());
  loop.discard_letters();
  loop.post(in_time);
  loop.stop();
  loop.run();
  for (LateLetter& letter : late) loop.post(letter);
  loop.discard_letters();
  loop.discard_letters();
  CHECK(in_time.delivered == 1);
  CHECK(in_time.undelivered == 0);
  for (const LateLetter& letter : late) {
    CHECK(letter.delivered == 0);
    CHECK(letter.undelivered == 1);
  }
}
