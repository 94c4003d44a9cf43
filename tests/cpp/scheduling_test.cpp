#include "base/scheduling.h"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <thread>

using namespace hrmr;

namespace {

// Runs it on a thread of its own, so that no other test is scheduled by it.
template <class Function>
void on_a_thread(Function function) {
  std::thread(function).join();
}

}  // namespace

TEST_CASE("a thread that asks for short slices gets them where the kernel has them") {
  on_a_thread([] {
    CHECK(setpriority(PRIO_PROCESS, 0, 2) == 0);
    ask_for_short_slices();
    CHECK(sched_getscheduler(0) == SCHED_OTHER);
    CHECK(getpriority(PRIO_PROCESS, 0) == 2);
    struct {
      uint32_t size, policy;
      uint64_t flags;
      int32_t nice;
      uint32_t priority;
      uint64_t runtime, deadline, period;
    } attributes{};
    REQUIRE(syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) == 0);
    // Older kernels say 0, and have one length of slice for all.
    const bool is_granted = attributes.runtime == 0 || attributes.runtime == 100'000;
    CHECK_MESSAGE(is_granted, attributes.runtime);
  });
}

TEST_CASE("a policy that was chosen from outside stays") {
  on_a_thread([] {
    const sched_param none{};
    REQUIRE(sched_setscheduler(0, SCHED_IDLE, &none) == 0);
    ask_for_short_slices();
    CHECK(sched_getscheduler(0) == SCHED_IDLE);
  });
}
