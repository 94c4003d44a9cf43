#include "work/gate.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "eventually.h"

namespace {

using hrmr::test::eventually;
using hrmr::work::Gate;

// Threads that announce themselves and sleep until the gate says that it is final.
class Sleepers {
 public:
  Sleepers(Gate& gate, int threads) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this, &gate] {
        while (!gate.announce()) {
          ++announced;
          gate.sleep();
          ++woken;
        }
        gate.withdraw();
        ++ended;
      });
    }
    CHECK(eventually([&] { return announced == threads; }));
  }
  ~Sleepers() {
    for (std::thread& thread : threads_) thread.join();
  }
  std::atomic<int> announced{0};
  std::atomic<int> woken{0};
  std::atomic<int> ended{0};

 private:
  std::vector<std::thread> threads_;
};

}  // namespace

TEST_CASE("gate is final when it is closed and the last submitter has left") {
  Gate gate;
  const auto is_final = [&gate] {
    const bool answer = gate.announce();
    gate.withdraw();
    return answer;
  };
  CHECK_FALSE(is_final());
  REQUIRE(gate.enter());
  REQUIRE(gate.enter());
  CHECK_FALSE(is_final());
  gate.close();
  CHECK_FALSE(is_final());
  CHECK_FALSE(gate.enter());
  gate.leave();
  CHECK_FALSE(is_final());
  gate.leave();
  CHECK(is_final());
  gate.close();
  CHECK(is_final());
  CHECK_FALSE(gate.enter());
}

TEST_CASE("gate wakes one sleeper for each submitter that leaves") {
  Gate gate;
  {
    Sleepers sleepers(gate, 2);
    for (int n = 1; n <= 100; ++n) {
      REQUIRE(gate.enter());
      gate.leave();
      REQUIRE(eventually([&] { return sleepers.announced == 2 + n; }));
      REQUIRE(sleepers.woken == n);
    }
    gate.close();
    CHECK(eventually([&] { return sleepers.ended == 2; }));
    CHECK(sleepers.woken == 102);
  }
}

TEST_CASE("who leaves quietly wakes nobody, and one wake-up then serves as many as it names") {
  Gate gate;
  Sleepers sleepers(gate, 3);
  for (int n = 0; n < 2; ++n) {
    REQUIRE(gate.enter());
    gate.leave_quietly();
  }
  CHECK(sleepers.woken == 0);
  gate.wake_up_to(2);
  REQUIRE(eventually([&] { return sleepers.announced == 5; }));
  CHECK(sleepers.woken == 2);
  gate.wake_up_to(100);
  REQUIRE(eventually([&] { return sleepers.announced == 8; }));
  CHECK(sleepers.woken == 5);
  gate.close();
}

TEST_CASE("who leaves a closed gate quietly, and last, lets all sleepers go") {
  Gate gate;
  REQUIRE(gate.enter());
  Sleepers sleepers(gate, 2);
  gate.close();
  REQUIRE(eventually([&] { return sleepers.announced == 4; }));
  CHECK(sleepers.ended == 0);
  gate.leave_quietly();
  CHECK(eventually([&] { return sleepers.ended == 2; }));
}

TEST_CASE("gate lets all sleepers go when it closes") {
  Gate gate;
  Sleepers sleepers(gate, 5);
  gate.close();
  CHECK(eventually([&] { return sleepers.ended == 5; }));
}

TEST_CASE("gate lets all sleepers go when the last submitter leaves after the close") {
  Gate gate;
  REQUIRE(gate.enter());
  REQUIRE(gate.enter());
  Sleepers sleepers(gate, 3);
  gate.close();
  // Woken by the close, they find a submitter inside and lie down again.
  REQUIRE(eventually([&] { return sleepers.announced == 6; }));
  gate.leave();
  REQUIRE(eventually([&] { return sleepers.announced == 7; }));
  CHECK(sleepers.ended == 0);
  gate.leave();
  CHECK(eventually([&] { return sleepers.ended == 3; }));
}

TEST_CASE("who withdraws after being woken takes the wake-up along") {
  Gate gate;
  gate.announce();
  gate.wake_one();
  gate.withdraw();
  int woken = 0;
  {
    Sleepers sleepers(gate, 1);
    gate.wake_one();
    REQUIRE(eventually([&] { return sleepers.announced >= 2; }));
    gate.close();
    CHECK(eventually([&] { return sleepers.ended == 1; }));
    woken = sleepers.woken;
  }
  CHECK(woken == 2);  // by wake_one and by close; a wake-up left behind would be a third
}

TEST_CASE("a wake-up that nobody waits for is not kept") {
  Gate gate;
  gate.wake_one();
  REQUIRE(gate.enter());
  gate.leave();
  Sleepers sleepers(gate, 1);
  gate.wake_one();
  REQUIRE(eventually([&] { return sleepers.announced == 2; }));
  CHECK(sleepers.woken == 1);
  gate.close();
}
