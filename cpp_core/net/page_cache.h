// What of a file is in the page cache, so that a loop that sends it need not wait for the disk, and
// the way for what is not.
//
// The answer is a sample: one byte in kFileProbeBytes is asked for with RWF_NOWAIT (preadv2(2)),
// which costs less than a microsecond and makes the kernel begin to read what is missing. So the
// page of a hole between two samples, or one that the kernel takes back before it is sent, is still
// waited for. Where a file system does not know RWF_NOWAIT (overlayfs, NFS), mincore(2) is asked
// about a map of the file, which is exact, but costs three calls and tells only who may write to
// the file or owns it; to others nothing counts as there. tmpfs and ramfs have all in memory.
//
// Threads: bytes_ready on the loop that sends the range; read_in on any that may wait.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/output.h"

namespace hrmr::net {

// How many of the next bytes of `range`, which is not empty, are in the page cache: at most
// `bytes_max`; 0: not all of them, read them in first. Keeps the answer in `range`.
size_t bytes_ready(FileRange& range, size_t bytes_max);

// Waits until `bytes` of the file are in the page cache, or the file ends before that, or
// `is_unwanted`. False: they cannot be read.
bool read_in(int fd, uint64_t offset, uint64_t bytes, const std::atomic<bool>& is_unwanted);

// Asks the kernel to begin reading; does not wait for it.
void announce(int fd, uint64_t offset, uint64_t bytes);

}  // namespace hrmr::net
