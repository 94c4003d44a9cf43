#include "base/log.h"

#include <chrono>
#include <utility>

#include "base/limits.h"

namespace hrmr {

void Log::write(LogLevel level, std::string_view source, std::string message) {
  const std::lock_guard lock(mutex_);
  if (level < level_ || closed_) return;
  if (records_.size() >= limits::kLogRecordsMax) {
    ++dropped_;
    return;
  }
  records_.push_back({level, std::string(source), std::move(message)});
  arrived_.notify_one();
}

void Log::set_level(LogLevel level) {
  const std::lock_guard lock(mutex_);
  level_ = level;
}

bool Log::wait(std::vector<LogRecord>& out, uint32_t timeout_ms) {
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                    [this] { return closed_ || !records_.empty(); });
  out.clear();
  out.swap(records_);
  if (dropped_ != 0) {
    out.push_back(
        {LogLevel::kWarning, "log", std::to_string(dropped_) + " log records were dropped"});
    dropped_ = 0;
  }
  return !closed_ || !out.empty();
}

void Log::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  arrived_.notify_all();
}

}  // namespace hrmr
