#include "base/scheduling.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace hrmr {
namespace {

// The shortest that the kernel grants.
constexpr uint64_t kShortSliceNs = 100'000;

// struct sched_attr in its first version; libc got it only with glibc 2.41.
struct Attributes {
  uint32_t size = 48;
  uint32_t policy = SCHED_OTHER;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;
  uint64_t deadline = 0;
  uint64_t period = 0;
};
static_assert(sizeof(Attributes) == 48);

}  // namespace

void ask_for_short_slices() {
  // A thread that somebody has given a policy of its own (chrt) keeps it.
  if (sched_getscheduler(0) != SCHED_OTHER) return;
  errno = 0;
  const int nice = getpriority(PRIO_PROCESS, 0);
  if (errno != 0) return;
  Attributes wanted;
  wanted.nice = nice;
  wanted.runtime = kShortSliceNs;
  (void)syscall(SYS_sched_setattr, 0, &wanted, 0);
}

}  // namespace hrmr
