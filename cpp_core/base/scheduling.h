// What a thread of the server asks of the kernel's scheduler. No privilege is needed, and nothing
// depends on it: a kernel that does not know the request leaves the thread as it was. It matters
// where threads outnumber processors.
#pragma once

namespace hrmr {

// For a thread that everybody waits for, but for microseconds: when it wakes it may interrupt one
// with a longer slice, and its turn comes back sooner; its share of the processor stays what it is
// (sched(7); Linux 6.12 and later: the field sched_runtime of sched_setattr(2) under SCHED_OTHER).
// For the calling thread, and for those that it starts.
void ask_for_short_slices();

}  // namespace hrmr
