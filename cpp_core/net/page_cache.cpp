#include "net/page_cache.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/limits.h"

namespace hrmr::net {
namespace {

using Residency = FileRange::Residency;

enum class Seen : uint8_t { kThere, kNotThere, kNotTold };

// What is behind the end of the file, or cannot be read, counts as there: nothing is waited for,
// and who sends it finds out.
Seen look_at(int fd, uint64_t offset) {
  char byte = 0;
  const iovec room{&byte, 1};
  ssize_t got = -1;
  do {
    got = ::preadv2(fd, &room, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  } while (got < 0 && errno == EINTR);
  if (got >= 0) return Seen::kThere;
  if (errno == EAGAIN) return Seen::kNotThere;
  return errno == EOPNOTSUPP || errno == ENOSYS ? Seen::kNotTold : Seen::kThere;
}

Seen look_by_reads(int fd, uint64_t offset, size_t bytes) {
  const uint64_t last = offset + bytes - 1;
  for (uint64_t at = offset;; at = std::min(at + limits::kFileProbeBytes, last)) {
    const Seen seen = look_at(fd, at);
    if (seen != Seen::kThere || at == last) return seen;
  }
}

// The map is never touched.
Seen look_through_map(int fd, uint64_t offset, size_t bytes) {
  static const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  unsigned char pages[limits::kFileSliceBytes / 4096 + 2];  // no kernel has smaller ones
  const uint64_t start = offset - offset % page_bytes;
  const auto size = static_cast<size_t>(offset + bytes - start);
  void* const map = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(start));
  if (map == MAP_FAILED) return Seen::kNotTold;
  const bool is_told = ::mincore(map, size, pages) == 0;
  (void)::munmap(map, size);
  if (!is_told) return Seen::kNotTold;
  const size_t count = (size + page_bytes - 1) / page_bytes;
  const bool are_there =
      std::all_of(pages, pages + count, [](unsigned char page) { return (page & 1) != 0; });
  return are_there ? Seen::kThere : Seen::kNotThere;
}

// Who may not know is told that all is there (mincore(2)), what lies far behind the end too.
bool is_told_to_map(int fd) {
  constexpr uint64_t kFarBytes = 1024 * 1024;
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) return false;
  return look_through_map(fd, static_cast<uint64_t>(facts.st_size) + kFarBytes, 1) ==
         Seen::kNotThere;
}

bool is_in_memory(int fd) {
  struct statfs facts {};
  if (::fstatfs(fd, &facts) != 0) return false;
  const auto type = static_cast<uint32_t>(facts.f_type);
  return type == TMPFS_MAGIC || type == RAMFS_MAGIC;
}

// Of a file system that does not know RWF_NOWAIT.
Residency other_residency(int fd) {
  if (is_in_memory(fd)) return Residency::kInMemory;
  return is_told_to_map(fd) ? Residency::kToldToMap : Residency::kNotTold;
}

}  // namespace

size_t bytes_ready(FileRange& range, size_t bytes_max) {
  const size_t bytes_wanted = std::min(bytes_max, limits::kFileSliceBytes);
  const auto bytes = static_cast<size_t>(std::min<uint64_t>(range.left, bytes_wanted));
  if (range.residency == Residency::kInMemory) return bytes;
  if (range.ready > range.offset) {
    return static_cast<size_t>(std::min<uint64_t>(range.ready - range.offset, bytes));
  }
  Seen seen = Seen::kNotTold;
  if (range.residency == Residency::kToldToRead) {
    seen = look_by_reads(range.fd.get(), range.offset, bytes);
    if (seen == Seen::kNotTold) {
      range.residency = other_residency(range.fd.get());
      return bytes_ready(range, bytes_max);
    }
  } else if (range.residency == Residency::kToldToMap) {
    seen = look_through_map(range.fd.get(), range.offset, bytes);
  }
  if (seen != Seen::kThere) return 0;
  range.ready = range.offset + bytes;
  return bytes;
}

bool read_in(int fd, uint64_t offset, uint64_t bytes, const std::atomic<bool>& is_unwanted) {
  char bin[32 * 1024];
  while (bytes != 0 && !is_unwanted.load(std::memory_order_relaxed)) {
    const iovec room{bin, static_cast<size_t>(std::min<uint64_t>(bytes, sizeof bin))};
    const ssize_t got = ::preadv2(fd, &room, 1, static_cast<off_t>(offset), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return false;
    if (got == 0) break;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<uint64_t>(got);
  }
  return true;
}

void announce(int fd, uint64_t offset, uint64_t bytes) {
  (void)::posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(bytes),
                        POSIX_FADV_WILLNEED);
}

}  // namespace hrmr::net
