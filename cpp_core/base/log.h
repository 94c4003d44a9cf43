// Log: where every thread of one server leaves its records, and one reader takes them from.
//
// Never on the request path, so a mutex will do. The reader is the Python log thread (or a test);
// the writer never waits for it: past limits::kLogRecordsMax records are dropped and counted.
//
// Threads: write from any; wait from one.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace hrmr {

// The numbers are those of Python's logging module.
enum class LogLevel : int { kDebug = 10, kInfo = 20, kWarning = 30, kError = 40 };

struct LogRecord {
  LogLevel level;
  std::string source;  // "server", "reload", or "module.NAME"
  std::string message;
};

class Log {
 public:
  void write(LogLevel level, std::string_view source, std::string message);
  void debug(std::string_view source, std::string message) {
    write(LogLevel::kDebug, source, std::move(message));
  }
  void info(std::string_view source, std::string message) {
    write(LogLevel::kInfo, source, std::move(message));
  }
  void warn(std::string_view source, std::string message) {
    write(LogLevel::kWarning, source, std::move(message));
  }
  void error(std::string_view source, std::string message) {
    write(LogLevel::kError, source, std::move(message));
  }

  // Records below this level are not kept.
  void set_level(LogLevel level);

  // Waits until there are records, the log is closed, or `timeout_ms` has passed; moves what is
  // there to `out`. False once the log is closed and empty.
  bool wait(std::vector<LogRecord>& out, uint32_t timeout_ms);
  void close();

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<LogRecord> records_;
  LogLevel level_ = LogLevel::kInfo;
  uint64_t dropped_ = 0;
  bool closed_ = false;
};

}  // namespace hrmr
