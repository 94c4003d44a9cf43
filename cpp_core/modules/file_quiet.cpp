#include "modules/file_quiet.h"

#include <chrono>
#include <ctime>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/limits.h"

namespace hrmr::modules {
namespace {

constexpr std::chrono::milliseconds kLookAgain(5);

}  // namespace

FileQuiet::FileQuiet(std::string path, std::string_view suffix, const FileStamp& stamp)
    : path_(std::move(path)),
      suffix_(suffix),
      stamp_(stamp),
      deadline_ms_(monotonic_ms() + limits::kFileQuietWaitMs) {}

bool FileQuiet::is_worth_another_try(bool was_ok) {
  if (path_.empty() || monotonic_ms() >= deadline_ms_) return false;
  bool is_other = has_changed();
  // What loaded and did not change meanwhile is whole. What failed may be the first half.
  while ((is_other || !was_ok) && is_young()) {
    if (monotonic_ms() >= deadline_ms_) return false;
    std::this_thread::sleep_for(kLookAgain);
    is_other = has_changed() || is_other;
  }
  return is_other;
}

// Since the last look. A file that is gone is a matter for the next scan.
bool FileQuiet::has_changed() {
  FileStamp now;
  if (!read_stamp(path_, now, suffix_) || now == stamp_) return false;
  stamp_ = now;
  return true;
}

bool FileQuiet::is_young() const {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t now_ns = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  const int64_t age_ns = now_ns - stamp_.modified_ns;
  return age_ns >= 0 && age_ns < int64_t{limits::kFileQuietMs} * 1'000'000;
}

}  // namespace hrmr::modules
