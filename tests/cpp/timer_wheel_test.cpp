#include "net/timer_wheel.h"

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "base/limits.h"

namespace {

using hrmr::limits::kTimerTickMs;
using hrmr::net::Timer;
using hrmr::net::TimerWheel;

struct TestTimer final : Timer {
  void on_timer() override {
    ++fired;
    if (then) then();
  }
  int fired = 0;
  std::function<void()> then;
};

constexpr uint64_t kStart = 1234567;

}  // namespace

TEST_CASE("a timer fires within one tick after its delay and never before it") {
  // Both sides of each level's end, and what lies between.
  for (uint64_t delay :
       {0u,     1u,     9u,      10u,     11u,     630u,     639u,      640u,
        641u,   1280u,  40950u,  40959u,  40960u,  40961u,   2621439u,  2621440u,
        99999u, 77777u, 655360u, 655361u, 167772u, 1677721u, 16777216u, 1677727u}) {
    for (uint64_t offset : {0u, 3u, 9u, 637u, 639u, 640u, 40959u}) {
      CAPTURE(delay);
      CAPTURE(offset);
      TimerWheel wheel;
      wheel.start(kStart);
      const uint64_t armed_at = kStart + offset;
      wheel.advance(armed_at);
      TestTimer timer;
      wheel.arm(timer, delay);
      CHECK(timer.is_armed());
      if (delay > 0) {
        wheel.advance(armed_at + delay - 1);
        CHECK(timer.fired == 0);
        CHECK(timer.is_armed());
      }
      wheel.advance(armed_at + delay + kTimerTickMs);
      CHECK(timer.fired == 1);
      CHECK_FALSE(timer.is_armed());
      wheel.advance(armed_at + delay * 3 + 5000);
      CHECK(timer.fired == 1);
    }
  }
}

TEST_CASE("who sleeps as long as ms_to_next says fires each timer in time") {
  for (uint64_t delay : {1u, 10u, 645u, 41000u, 2700000u, 100000000u}) {
    CAPTURE(delay);
    TimerWheel wheel;
    wheel.start(kStart);
    CHECK(wheel.ms_to_next(kStart) == -1);
    TestTimer timer;
    wheel.arm(timer, delay);
    uint64_t now = kStart;
    int sleeps = 0;
    while (timer.fired == 0 && sleeps < 100) {
      const int64_t ms = wheel.ms_to_next(now);
      REQUIRE(ms > 0);
      now += static_cast<uint64_t>(ms);
      wheel.advance(now);
      ++sleeps;
    }
    CHECK(now >= kStart + delay);
    CHECK(now <= kStart + delay + kTimerTickMs);
    CHECK(sleeps <= 6);
    CHECK(wheel.ms_to_next(now) == -1);
  }
}

TEST_CASE("ms_to_next is 0 when something is overdue") {
  TimerWheel wheel;
  wheel.start(kStart);
  TestTimer timer;
  wheel.arm(timer, 50);
  CHECK(wheel.ms_to_next(kStart + 49) == 1);
  CHECK(wheel.ms_to_next(kStart + 50) == 0);
  CHECK(wheel.ms_to_next(kStart + 5000) == 0);
}

TEST_CASE("many timers armed, re-armed and disarmed at random behave as a list of due times") {
  struct Expectation {
    TestTimer timer;
    uint64_t due = 0;
    bool is_armed = false;
    int fires = 0;
  };
  std::mt19937 random(7);
  const auto below = [&random](uint64_t bound) { return random() % bound; };
  TimerWheel wheel;
  uint64_t now = kStart;
  wheel.start(now);
  std::vector<Expectation> all(100);
  size_t wrong = 0;
  for (int step = 0; step < 20000; ++step) {
    Expectation& one = all[below(all.size())];
    const uint64_t delay = below(4) == 0 ? below(3000000) : below(2000);
    if (below(3) == 0) {
      wheel.disarm(one.timer);
      one.is_armed = false;
    } else {
      wheel.arm(one.timer, delay);
      one.due = now + delay;
      one.is_armed = true;
    }
    if (below(2) == 0) now += below(200) == 0 ? below(1000000) : below(40);
    wheel.advance(now);
    for (Expectation& each : all) {
      const bool has_fired = each.timer.fired > each.fires;
      if (has_fired && (!each.is_armed || now < each.due)) ++wrong;  // early, or disarmed
      if (!has_fired && each.is_armed && now >= each.due + kTimerTickMs) ++wrong;  // late
      if (has_fired) each.is_armed = false;
      each.fires = each.timer.fired;
      if (each.timer.is_armed() != each.is_armed) ++wrong;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("set_now moves the start of new delays and fires nothing") {
  TimerWheel wheel;
  wheel.start(kStart);
  TestTimer before;
  TestTimer after;
  wheel.arm(before, 100);
  wheel.set_now(kStart + 5000);
  wheel.arm(after, 100);
  CHECK(before.fired == 0);
  wheel.advance(kStart + 5099);
  CHECK(before.fired == 1);
  CHECK(after.fired == 0);
  wheel.advance(kStart + 5110);
  CHECK(after.fired == 1);
}

TEST_CASE("arming an armed timer moves it") {
  TimerWheel wheel;
  wheel.start(kStart);
  TestTimer timer;
  wheel.arm(timer, 50);
  wheel.arm(timer, 5000);
  wheel.advance(kStart + 4999);
  CHECK(timer.fired == 0);
  wheel.arm(timer, 20);
  wheel.advance(kStart + 4999 + 30);
  CHECK(timer.fired == 1);
  wheel.advance(kStart + 10000);
  CHECK(timer.fired == 1);
}

TEST_CASE("a timer that re-arms itself fires once per advance, even with no delay") {
  TimerWheel wheel;
  wheel.start(kStart);
  TestTimer timer;
  timer.then = [&] { wheel.arm(timer, 0); };
  wheel.arm(timer, 0);
  for (int turn = 1; turn <= 5; ++turn) {
    wheel.advance(kStart + static_cast<uint64_t>(turn) * 1000);
    CHECK(timer.fired == turn);
  }
}

TEST_CASE("on_timer may disarm and destroy others that are due in the same tick") {
  // Whichever of the three comes first takes the other two with it.
  TimerWheel wheel;
  wheel.start(kStart);
  auto kept = std::make_unique<TestTimer>();
  auto destroyed = std::make_unique<TestTimer>();
  TestTimer disarmed;
  int fired = 0;
  const auto take_others = [&](Timer* me) {
    ++fired;
    if (me != kept.get()) kept.reset();
    if (me != destroyed.get()) destroyed.reset();
    if (me != &disarmed) wheel.disarm(disarmed);
  };
  kept->then = [&, me = kept.get()] { take_others(me); };
  destroyed->then = [&, me = destroyed.get()] { take_others(me); };
  disarmed.then = [&] { take_others(&disarmed); };
  for (Timer* timer : {static_cast<Timer*>(kept.get()), static_cast<Timer*>(destroyed.get()),
                       static_cast<Timer*>(&disarmed)}) {
    wheel.arm(*timer, 100);
  }
  wheel.advance(kStart + 1000);
  CHECK(fired == 1);
  CHECK(wheel.ms_to_next(kStart + 1000) == -1);
}

TEST_CASE("on_timer may destroy its own timer") {
  struct Suicide final : Timer {
    explicit Suicide(int& given) : ends(given) {}
    ~Suicide() { ++ends; }
    void on_timer() override { delete this; }
    int& ends;
  };
  int ends = 0;
  TimerWheel wheel;
  wheel.start(kStart);
  for (int i = 0; i < 3; ++i) wheel.arm(*new Suicide(ends), 700);
  wheel.advance(kStart + 10000);
  CHECK(ends == 3);
}

TEST_CASE("on_timer may re-arm one that is due in the same tick") {
  TimerWheel wheel;
  wheel.start(kStart);
  TestTimer left;
  TestTimer right;
  left.then = [&] { wheel.arm(right, 500); };
  right.then = [&] { wheel.arm(left, 500); };
  wheel.arm(left, 100);
  wheel.arm(right, 100);
  wheel.advance(kStart + 110);
  CHECK(left.fired + right.fired == 1);  // the first one moved the other
  wheel.advance(kStart + 609);
  CHECK(left.fired + right.fired == 1);
  wheel.advance(kStart + 620);
  CHECK(left.fired + right.fired == 2);
}

TEST_CASE("one advance over a long gap fires all that is due and nothing else") {
  TimerWheel wheel;
  wheel.start(kStart);
  std::vector<TestTimer> timers(500);
  for (size_t i = 0; i < timers.size(); ++i) wheel.arm(timers[i], i * 1000);
  wheel.advance(kStart + 250000);
  size_t good = 0;
  for (size_t i = 0; i < timers.size(); ++i) good += timers[i].fired == (i <= 250 ? 1 : 0) ? 1 : 0;
  CHECK(good == timers.size());
}

TEST_CASE("a delay without end neither overflows nor fires") {
  TimerWheel wheel;
  wheel.start(kStart);
  TestTimer timer;
  wheel.arm(timer, UINT64_MAX);
  const uint64_t year_ms = 365ull * 24 * 3600 * 1000;
  wheel.advance(kStart + year_ms);
  CHECK(timer.fired == 0);
  CHECK(timer.is_armed());
  CHECK(wheel.ms_to_next(kStart + year_ms) > 0);
}

TEST_CASE("timers and their wheel may go in any order") {
  auto wheel = std::make_unique<TimerWheel>();
  wheel->start(kStart);
  TestTimer outlives;
  wheel->arm(outlives, 100);
  {
    TestTimer goes_first;
    wheel->arm(goes_first, 100);
  }
  wheel->advance(kStart + 50);
  wheel.reset();
  CHECK_FALSE(outlives.is_armed());
  CHECK(outlives.fired == 0);
}
