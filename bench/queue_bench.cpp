// queue_bench: HRMR's bounded queue beside moodycamel's and a mutex with a deque, in one run.
//
//     g++ -O2 -std=c++20 -pthread -Icpp_core bench/queue_bench.cpp -o queue_bench && ./queue_bench
//
// Needs Debian's libconcurrentqueue-dev. Rounds are interleaved, each queue in turn and another one
// first each time, so that what else the machine does hits all of them; a ratio is the median of
// the ratios within each round, ours being 1. Takes some 10 seconds.
//
// What the numbers are not: moodycamel's queue is unbounded and promises order per producer only.
// It never has to refuse, so its producers run ahead where the others' wait for room.

#if __has_include(<concurrentqueue/moodycamel/concurrentqueue.h>)
#include <concurrentqueue/moodycamel/concurrentqueue.h>
#elif __has_include(<concurrentqueue/concurrentqueue.h>)
#include <concurrentqueue/concurrentqueue.h>
#elif __has_include(<concurrentqueue.h>)
#include <concurrentqueue.h>
#else
#error "moodycamel's concurrentqueue.h is missing: apt install libconcurrentqueue-dev"
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "work/bounded_queue.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kSlots = hrmr::limits::kQueueSlots;
constexpr int kRounds = 15;
constexpr uint64_t kItems = 200000;     // passed in one measurement of throughput
constexpr uint64_t kRoundTrips = 8000;  // made in one measurement of latency

// Each contestant makes a queue, and each thread a Side of it to push and pop with.

struct OurQueue {
  static constexpr const char* kName = "hrmr bounded";
  hrmr::work::BoundedQueue<uint64_t> queue{kSlots};
  struct Side {
    explicit Side(OurQueue& given) : queue(given.queue) {}
    bool try_push(uint64_t value) { return queue.try_push(value); }
    bool try_pop(uint64_t& value) { return queue.try_pop(value); }
    hrmr::work::BoundedQueue<uint64_t>& queue;
  };
};

struct MutexQueue {
  static constexpr const char* kName = "mutex + deque";
  std::mutex mutex;
  std::deque<uint64_t> values;
  struct Side {
    explicit Side(MutexQueue& given) : queue(given) {}
    bool try_push(uint64_t value) {
      const std::lock_guard lock(queue.mutex);
      if (queue.values.size() == kSlots) return false;
      queue.values.push_back(value);
      return true;
    }
    bool try_pop(uint64_t& value) {
      const std::lock_guard lock(queue.mutex);
      if (queue.values.empty()) return false;
      value = queue.values.front();
      queue.values.pop_front();
      return true;
    }
    MutexQueue& queue;
  };
};

struct MoodyQueue {
  static constexpr const char* kName = "moodycamel";
  moodycamel::ConcurrentQueue<uint64_t> queue{kSlots};
  struct Side {
    explicit Side(MoodyQueue& given) : queue(given.queue) {}
    bool try_push(uint64_t value) { return queue.enqueue(value); }
    bool try_pop(uint64_t& value) { return queue.try_dequeue(value); }
    moodycamel::ConcurrentQueue<uint64_t>& queue;
  };
};

struct MoodyTokenQueue {
  static constexpr const char* kName = "moodycamel+tokens";
  moodycamel::ConcurrentQueue<uint64_t> queue{kSlots};
  struct Side {
    explicit Side(MoodyTokenQueue& given) : queue(given.queue), push(queue), pop(queue) {}
    bool try_push(uint64_t value) { return queue.enqueue(push, value); }
    bool try_pop(uint64_t& value) { return queue.try_dequeue(pop, value); }
    moodycamel::ConcurrentQueue<uint64_t>& queue;
    moodycamel::ProducerToken push;
    moodycamel::ConsumerToken pop;
  };
};

// Looks again at once, then lets others run: with more threads than cores the other side needs it.
class Patience {
 public:
  void wait() {
    if (++looks_ % 32 == 0) std::this_thread::yield();
  }

 private:
  unsigned looks_ = 0;
};

template <class Side>
void push_patiently(Side& side, uint64_t value) {
  for (Patience patience; !side.try_push(value); patience.wait()) {
  }
}

template <class Side>
uint64_t pop_patiently(Side& side) {
  uint64_t value = 0;
  for (Patience patience; !side.try_pop(value); patience.wait()) {
  }
  return value;
}

double ns_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}

// Nanoseconds for one item to pass, from the first push to the last pop.
template <class Queue>
double ns_per_item(unsigned producers, unsigned consumers) {
  Queue queue;
  std::atomic<bool> may_go{false};
  std::vector<std::thread> threads;
  const auto begin_together = [&may_go] {
    while (!may_go.load(std::memory_order_acquire)) std::this_thread::yield();
  };
  for (unsigned i = 0; i < producers; ++i) {
    threads.emplace_back([&] {
      typename Queue::Side side(queue);
      begin_together();
      for (uint64_t n = 0; n < kItems / producers; ++n) push_patiently(side, n);
    });
  }
  for (unsigned i = 0; i < consumers; ++i) {
    threads.emplace_back([&] {
      typename Queue::Side side(queue);
      begin_together();
      for (uint64_t n = 0; n < kItems / consumers; ++n) pop_patiently(side);
    });
  }
  const auto begin = Clock::now();
  may_go.store(true, std::memory_order_release);
  for (std::thread& thread : threads) thread.join();
  return ns_since(begin) / static_cast<double>(kItems);
}

// Nanoseconds for `batch` items to go to another thread and as many to come back.
template <class Queue>
double ns_per_round_trip(unsigned batch, unsigned) {
  Queue there;
  Queue back;
  const uint64_t trips = kRoundTrips / (batch > 1 ? 4 : 1);
  std::thread echo([&] {
    typename Queue::Side in(there);
    typename Queue::Side out(back);
    for (uint64_t n = 0; n < trips; ++n) {
      for (unsigned i = 0; i < batch; ++i) pop_patiently(in);
      for (unsigned i = 0; i < batch; ++i) push_patiently(out, n);
    }
  });
  typename Queue::Side out(there);
  typename Queue::Side in(back);
  const auto begin = Clock::now();
  for (uint64_t n = 0; n < trips; ++n) {
    for (unsigned i = 0; i < batch; ++i) push_patiently(out, n);
    for (unsigned i = 0; i < batch; ++i) pop_patiently(in);
  }
  const double ns = ns_since(begin);
  echo.join();
  return ns / static_cast<double>(trips);
}

using Measure = double (*)(unsigned, unsigned);
constexpr size_t kQueues = 4;

struct Row {
  const char* name;
  unsigned left;   // producers, or items per batch
  unsigned right;  // consumers
  std::array<Measure, kQueues> measures;
};

constexpr std::array<const char*, kQueues> kNames{OurQueue::kName, MoodyQueue::kName,
                                                  MoodyTokenQueue::kName, MutexQueue::kName};
constexpr std::array<Measure, kQueues> kThroughput{ns_per_item<OurQueue>, ns_per_item<MoodyQueue>,
                                                   ns_per_item<MoodyTokenQueue>,
                                                   ns_per_item<MutexQueue>};
constexpr std::array<Measure, kQueues> kLatency{
    ns_per_round_trip<OurQueue>, ns_per_round_trip<MoodyQueue>, ns_per_round_trip<MoodyTokenQueue>,
    ns_per_round_trip<MutexQueue>};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void print_row(const Row& row) {
  std::array<std::vector<double>, kQueues> ns;
  std::array<std::vector<double>, kQueues> ratios;
  for (int round = -1; round < kRounds; ++round) {
    std::array<double, kQueues> this_round{};
    for (size_t i = 0; i < kQueues; ++i) {
      const size_t queue = (i + static_cast<size_t>(round + 1)) % kQueues;
      this_round[queue] = row.measures[queue](row.left, row.right);
    }
    if (round < 0) continue;  // the first one warms up
    for (size_t i = 0; i < kQueues; ++i) {
      ns[i].push_back(this_round[i]);
      ratios[i].push_back(this_round[i] / this_round[0]);
    }
  }
  std::printf("%-34s", row.name);
  for (size_t i = 0; i < kQueues; ++i) {
    std::printf("  %9.1f ns x%-5.2f", median(ns[i]), median(ratios[i]));
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main() {
  std::printf(
      "%u processors; %d rounds, interleaved; %zu slots; median time, and median ratio to "
      "ours (above 1: slower)\n\n%-34s",
      std::thread::hardware_concurrency(), kRounds, kSlots, "");
  for (const char* name : kNames) std::printf("  %19s", name);
  std::printf("\n");
  const std::vector<Row> rows{
      {"per item, 1 producer 1 consumer", 1, 1, kThroughput},
      {"per item, 2 producers 2 consumers", 2, 2, kThroughput},
      {"per item, 4 producers 4 consumers", 4, 4, kThroughput},
      {"round trip of 1 item", 1, 0, kLatency},
      {"round trip of a batch of 32 items", hrmr::limits::kBatchRequests, 0, kLatency},
  };
  for (const Row& row : rows) print_row(row);
  return 0;
}
