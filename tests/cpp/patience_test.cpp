#include "server/patience.h"

#include <doctest/doctest.h>

using namespace hrmr::server;

namespace {

constexpr Timeouts kTimeouts{300'000, 60'000, 30'000, 20'000, 500};
constexpr uint64_t kStart = 1'000'000;

// One connection, accepted at kStart; times count from there.
struct Bench {
  explicit Bench(const Timeouts& given = kTimeouts) : timeouts(given) { patience.begin(kStart); }

  // Bytes arrive and leave so much of a request behind.
  void rest(uint64_t ms, size_t bytes, bool is_body = false) {
    patience.note_activity(kStart + ms);
    patience.note_rest(kStart + ms, bytes, is_body);
  }
  void request(uint64_t ms) {
    patience.note_activity(kStart + ms);
    patience.note_request();
    patience.note_rest(kStart + ms, 0, false);
  }
  Overdue at(uint64_t ms, bool is_away = false, size_t queued_bytes = 0) {
    return patience.overdue(kStart + ms, timeouts, is_away, queued_bytes);
  }
  uint64_t next(uint64_t ms, bool is_away = false) const {
    return patience.next_look_ms(kStart + ms, timeouts, is_away);
  }

  Timeouts timeouts;
  Patience patience;
};

}  // namespace

TEST_CASE("a peer that never says anything is idle after the header timeout") {
  Bench bench;
  CHECK(bench.at(59'999) == Overdue::kNothing);
  CHECK(bench.at(60'000) == Overdue::kIdle);
}

TEST_CASE("the first head counts from the connection, and dripping does not prolong it") {
  Bench bench;
  for (uint64_t ms = 10'000; ms < 60'000; ms += 1000) bench.rest(ms, ms / 1000);
  CHECK(bench.at(59'999) == Overdue::kNothing);
  CHECK(bench.at(60'000) == Overdue::kHead);
}

TEST_CASE("a later head counts from its first byte") {
  Bench bench;
  bench.request(50'000);
  bench.rest(100'000, 1);
  bench.rest(150'000, 2);
  CHECK(bench.at(159'999) == Overdue::kNothing);
  CHECK(bench.at(160'000) == Overdue::kHead);
  bench.request(160'000);
  bench.rest(160'000, 3);
  CHECK(bench.at(219'999) == Overdue::kNothing);
  CHECK(bench.at(220'000) == Overdue::kHead);
}

TEST_CASE("between requests only the idle timeout runs") {
  Bench bench;
  bench.request(1000);
  CHECK(bench.at(300'999) == Overdue::kNothing);
  CHECK(bench.at(301'000) == Overdue::kIdle);
}

TEST_CASE("a body may pause for less than the body timeout") {
  Bench bench;
  bench.rest(0, 100'000, true);
  CHECK(bench.at(29'999) == Overdue::kNothing);
  CHECK(bench.at(30'000) == Overdue::kBody);
  bench.rest(29'999, 200'000, true);
  CHECK(bench.at(59'998) == Overdue::kNothing);
  CHECK(bench.at(59'999) == Overdue::kBody);
}

TEST_CASE("a body that drips is late once its average is below the least rate") {
  Bench bench;
  size_t bytes = 0;
  for (uint64_t ms = 0; ms < 30'000; ms += 1000) bench.rest(ms, ++bytes, true);
  // 30 bytes have earned 60 ms.
  CHECK(bench.at(30'059) == Overdue::kNothing);
  CHECK(bench.at(30'060) == Overdue::kBody);
  SUBCASE("one that keeps the rate is never late") {
    for (uint64_t ms = 30'000; ms < 3'600'000; ms += 1000) {
      bench.rest(ms, bytes += 500, true);
      REQUIRE(bench.at(ms + 999) == Overdue::kNothing);
    }
  }
  SUBCASE("nor is any while there is no least rate") {
    bench.timeouts.bytes_per_s_min = 0;
    for (uint64_t ms = 30'000; ms < 3'600'000; ms += 1000) {
      bench.rest(ms, ++bytes, true);
      REQUIRE(bench.at(ms + 999) == Overdue::kNothing);
    }
  }
}

TEST_CASE("the body of a head that took its time has its own time") {
  Bench bench;
  bench.rest(1000, 10);
  bench.rest(59'000, 1000, true);
  CHECK(bench.at(88'999) == Overdue::kNothing);
  CHECK(bench.at(89'000) == Overdue::kBody);
}

TEST_CASE("parts that are each in time do not make a request that is not") {
  // As a command of Redis' protocol: a length, then a byte, again and again.
  Bench bench;
  size_t bytes = 10;
  bench.rest(0, bytes);
  uint64_t ms = 1000;
  for (; bench.at(ms) == Overdue::kNothing && ms < 600'000; ms += 1000) {
    bench.rest(ms, ++bytes, ms % 2000 == 0);
  }
  // From the first part on: 30 s, and what 42 bytes have earned.
  CHECK(ms == 33'000);
  CHECK(bench.at(ms) == Overdue::kBody);
}

TEST_CASE("a peer that takes nothing is late, however much it sends") {
  Bench bench;
  bench.request(1000);
  bench.patience.note_blocked(kStart + 1000, 100'000);
  bench.rest(20'000, 10);
  CHECK(bench.at(20'999, false, 100'000) == Overdue::kNothing);
  CHECK(bench.at(21'000, false, 100'000) == Overdue::kWrite);
  CHECK(bench.at(21'000, true, 100'000) == Overdue::kWrite);
}

TEST_CASE("a peer that takes at the least rate is waited for, one that takes less is not") {
  Bench bench;
  bench.patience.note_blocked(kStart, 100'000);
  CHECK(bench.at(20'000, false, 90'001) == Overdue::kWrite);
  CHECK(bench.at(20'000, false, 90'000) == Overdue::kNothing);
  // Measured from there on.
  CHECK(bench.at(39'999, false, 90'000) == Overdue::kNothing);
  CHECK(bench.at(40'000, false, 80'001) == Overdue::kWrite);
  CHECK(bench.at(40'000, false, 80'000) == Overdue::kNothing);
  bench.patience.note_unblocked();
  CHECK(bench.at(60'000 - 1) == Overdue::kNothing);
}

TEST_CASE("without a least rate one byte taken is enough, and none is not") {
  Timeouts timeouts = kTimeouts;
  timeouts.bytes_per_s_min = 0;
  Bench bench(timeouts);
  bench.patience.note_blocked(kStart, 100);
  CHECK(bench.at(20'000, false, 99) == Overdue::kNothing);
  CHECK(bench.at(40'000, false, 99) == Overdue::kWrite);
}

TEST_CASE("a peer that waits for us is late with nothing") {
  Bench bench;
  bench.rest(1000, 5);
  CHECK(bench.at(10'000'000, true) == Overdue::kNothing);
}

TEST_CASE("a timeout of 0 waits for ever") {
  Bench bench(Timeouts{0, 0, 0, 0, 500});
  bench.rest(1000, 5);
  CHECK(bench.at(10'000'000) == Overdue::kNothing);
  bench.rest(1000, 5, true);
  CHECK(bench.at(10'000'000) == Overdue::kNothing);
  bench.patience.note_blocked(kStart, 100);
  CHECK(bench.at(10'000'000, false, 100) == Overdue::kNothing);
  CHECK(bench.next(10'000'000) == 0);
}

TEST_CASE(
    "the next look comes when the first timeout may be over, and no later than the shortest") {
  Bench bench;
  CHECK(bench.next(0) == 20'000);
  CHECK(bench.next(50'000) == 10'000);
  CHECK(bench.next(70'000) == 1);
  bench.request(70'000);
  CHECK(bench.next(70'000) == 20'000);
  CHECK(bench.next(360'000) == 10'000);
  bench.rest(360'000, 1000, true);
  CHECK(bench.next(375'000) == 15'000);
  bench.rest(389'000, 1500, true);
  CHECK(bench.next(390'000) == 3000);  // 1500 bytes have earned 3 s
  bench.patience.note_blocked(kStart + 390'000, 1);
  CHECK(bench.next(400'000) == 10'000);
  CHECK(bench.next(400'000, true) == 10'000);
}

TEST_CASE("whoever looks when it is told to misses no deadline") {
  // A drop each 700 ms, at odds with everything; looked at only when next_look_ms says so.
  Bench bench(Timeouts{5000, 3000, 2000, 1000, 500});
  uint64_t look = bench.next(0);
  uint64_t found = 0;
  for (uint64_t ms = 1; found == 0 && ms < 60'000; ++ms) {
    if (ms % 700 == 0) bench.rest(ms, ms / 700);
    if (ms != look) continue;
    if (bench.at(ms) == Overdue::kHead) found = ms;
    look = ms + bench.next(ms);
  }
  CHECK(found == 3000);
}
