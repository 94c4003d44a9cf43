#include "work/bounded_queue.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <thread>
#include <vector>

#include "eventually.h"

namespace {

using hrmr::test::Deadline;
using hrmr::work::BoundedQueue;

// A value that tells who pushed it and as its how many-th.
uint64_t value_of(size_t producer, uint64_t number) { return producer << 32 | number; }

struct Traffic {
  size_t producers = 1;
  size_t consumers = 1;
  uint64_t values_each = 1;
  size_t slots = 2;
};

// What each consumer popped, in its order.
std::vector<std::vector<uint64_t>> run(const Traffic& traffic) {
  BoundedQueue<uint64_t> queue(traffic.slots);
  std::vector<std::vector<uint64_t>> popped(traffic.consumers);
  std::atomic<uint64_t> left{traffic.producers * traffic.values_each};
  const Deadline deadline;
  std::vector<std::thread> threads;
  for (size_t producer = 0; producer < traffic.producers; ++producer) {
    threads.emplace_back([&, producer] {
      for (uint64_t number = 0; number < traffic.values_each; ++number) {
        while (!queue.try_push(value_of(producer, number))) {
          if (deadline.has_passed()) return;
          std::this_thread::yield();
        }
      }
    });
  }
  for (size_t consumer = 0; consumer < traffic.consumers; ++consumer) {
    threads.emplace_back([&, consumer] {
      uint64_t value = 0;
      while (left.load() != 0 && !deadline.has_passed()) {
        if (queue.try_pop(value)) {
          popped[consumer].push_back(value);
          left.fetch_sub(1);
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t rest = 0;
  CHECK_FALSE(queue.try_pop(rest));
  return popped;
}

// Whether each producer's values appear in their order in what one consumer popped.
bool is_ordered(const std::vector<uint64_t>& popped, size_t producers) {
  std::vector<int64_t> last(producers, -1);
  for (uint64_t value : popped) {
    const auto number = static_cast<int64_t>(value & 0xffffffff);
    if (number <= last[value >> 32]) return false;
    last[value >> 32] = number;
  }
  return true;
}

bool has_each_once(const std::vector<std::vector<uint64_t>>& popped, const Traffic& traffic) {
  std::vector<std::vector<int>> seen(traffic.producers, std::vector<int>(traffic.values_each));
  for (const auto& values : popped) {
    for (uint64_t value : values) ++seen.at(value >> 32).at(value & 0xffffffff);
  }
  for (const auto& counts : seen) {
    for (int count : counts) {
      if (count != 1) return false;
    }
  }
  return true;
}

bool aborts_with_slots(size_t slots) {
  std::fflush(nullptr);  // or the child prints it too
  const pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO);
    signal(SIGABRT, SIG_DFL);
    const BoundedQueue<int> queue(slots);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

}  // namespace

TEST_CASE("queue refuses a push when full and a pop when empty") {
  for (size_t slots : {2u, 4u, 64u}) {
    CAPTURE(slots);
    BoundedQueue<size_t> queue(slots);
    size_t value = 12345;
    CHECK_FALSE(queue.try_pop(value));
    CHECK(value == 12345);
    for (size_t i = 0; i < slots; ++i) REQUIRE(queue.try_push(i));
    CHECK_FALSE(queue.try_push(slots));
    CHECK(queue.approximate_size() == slots);
    // One goes, one fits, no more.
    REQUIRE(queue.try_pop(value));
    CHECK(value == 0);
    CHECK(queue.try_push(slots));
    CHECK_FALSE(queue.try_push(slots + 1));
    for (size_t i = 1; i <= slots; ++i) {
      REQUIRE(queue.try_pop(value));
      CHECK(value == i);
    }
    CHECK_FALSE(queue.try_pop(value));
    CHECK(queue.approximate_size() == 0);
  }
}

TEST_CASE("queue keeps its order over many rounds at every fill") {
  for (size_t fill = 1; fill <= 8; ++fill) {
    BoundedQueue<uint64_t> queue(8);
    uint64_t pushed = 0;
    uint64_t popped = 0;
    bool is_good = true;
    for (int round = 0; round < 1000; ++round) {
      while (pushed - popped < fill) is_good = is_good && queue.try_push(pushed++);
      for (size_t i = 0; i < 1 + fill / 2; ++i) {
        uint64_t value = 0;
        is_good = is_good && queue.try_pop(value) && value == popped++;
      }
      is_good = is_good && queue.approximate_size() == pushed - popped;
    }
    CAPTURE(fill);
    CHECK(is_good);
  }
}

TEST_CASE("queue aborts on a number of slots that it cannot have") {
  CHECK(aborts_with_slots(0));
  CHECK(aborts_with_slots(1));
  CHECK(aborts_with_slots(12));
  CHECK_FALSE(aborts_with_slots(16));
}

TEST_CASE("producers that race for the last slots get exactly as many as there are") {
  for (int round = 0; round < 50; ++round) {
    BoundedQueue<int> queue(8);
    std::atomic<int> accepted{0};
    std::atomic<int> taken{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 5; ++n) accepted += queue.try_push(n) ? 1 : 0;
      });
    }
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    CHECK(accepted == 8);
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        int value = 0;
        for (int n = 0; n < 5; ++n) taken += queue.try_pop(value) ? 1 : 0;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(taken == 8);
  }
}

TEST_CASE("one consumer gets each producer's values once and in order") {
  for (size_t slots : {2u, 16u, 1024u}) {
    CAPTURE(slots);
    const Traffic traffic{.producers = 3, .consumers = 1, .values_each = 5000, .slots = slots};
    const auto popped = run(traffic);
    CHECK(is_ordered(popped[0], traffic.producers));
    CHECK(has_each_once(popped, traffic));
  }
}

TEST_CASE("many producers and consumers pass each value exactly once") {
  for (size_t slots : {2u, 4u, 256u}) {
    CAPTURE(slots);
    const Traffic traffic{.producers = 4, .consumers = 4, .values_each = 4000, .slots = slots};
    const auto popped = run(traffic);
    CHECK(has_each_once(popped, traffic));
    // Tickets are popped in their order, so what one consumer gets is ordered too.
    for (const auto& values : popped) CHECK(is_ordered(values, traffic.producers));
  }
}
