#include "base/log.h"

#include <doctest/doctest.h>

#include <thread>

#include "base/limits.h"
#include "eventually.h"

namespace {

using hrmr::Log;
using hrmr::LogLevel;
using hrmr::LogRecord;
using hrmr::test::kPatienceMs;

}  // namespace

TEST_CASE("records come out in order with level and source") {
  Log log;
  log.set_level(LogLevel::kDebug);
  log.debug("a", "one");
  log.info("b", "two");
  log.warn("c", "three");
  log.error("module.x", "four");
  std::vector<LogRecord> records;
  REQUIRE(log.wait(records, 0));
  REQUIRE(records.size() == 4);
  CHECK(records[0].level == LogLevel::kDebug);
  CHECK(records[1].level == LogLevel::kInfo);
  CHECK(records[2].level == LogLevel::kWarning);
  CHECK(records[3].level == LogLevel::kError);
  CHECK(records[0].source == "a");
  CHECK(records[0].message == "one");
  CHECK(records[3].source == "module.x");
  CHECK(records[3].message == "four");
  CHECK(log.wait(records, 0));
  CHECK(records.empty());
}

TEST_CASE("records below the level are not kept") {
  Log log;
  log.debug("a", "below the default");
  log.set_level(LogLevel::kError);
  log.warn("a", "below");
  log.error("a", "kept");
  std::vector<LogRecord> records;
  log.wait(records, 0);
  REQUIRE(records.size() == 1);
  CHECK(records[0].message == "kept");
}

TEST_CASE("a full log drops the newest and tells how many, once") {
  Log log;
  for (size_t i = 0; i < hrmr::limits::kLogRecordsMax + 3; ++i) log.info("a", std::to_string(i));
  std::vector<LogRecord> records;
  log.wait(records, 0);
  REQUIRE(records.size() == hrmr::limits::kLogRecordsMax + 1);
  CHECK(records.front().message == "0");
  CHECK(records.back().level == LogLevel::kWarning);
  CHECK(records.back().message == "3 log records were dropped");
  log.info("a", "fits again");
  log.wait(records, 0);
  REQUIRE(records.size() == 1);
  CHECK(records[0].message == "fits again");
}

TEST_CASE("a closed log gives what it holds, then ends, and takes no more") {
  Log log;
  log.info("a", "before");
  log.close();
  log.info("a", "after");
  std::vector<LogRecord> records;
  CHECK(log.wait(records, kPatienceMs));
  REQUIRE(records.size() == 1);
  CHECK(records[0].message == "before");
  CHECK_FALSE(log.wait(records, kPatienceMs));
  CHECK(records.empty());
}

TEST_CASE("a waiting reader gets what other threads write, and the end") {
  constexpr size_t kEach = 1000;
  Log log;
  std::vector<LogRecord> all;
  std::thread reader([&] {
    std::vector<LogRecord> records;
    while (log.wait(records, kPatienceMs)) {
      all.insert(all.end(), records.begin(), records.end());
    }
  });
  std::vector<std::thread> writers;
  for (const char* name : {"left", "right"}) {
    writers.emplace_back([&log, name] {
      for (size_t i = 0; i < kEach; ++i) log.info(name, std::to_string(i));
    });
  }
  for (std::thread& writer : writers) writer.join();
  log.close();
  reader.join();
  size_t left = 0;
  size_t right = 0;
  bool is_ordered = true;
  for (const LogRecord& record : all) {
    size_t& next = record.source == "left" ? left : right;
    is_ordered = is_ordered && record.message == std::to_string(next++);
  }
  CHECK(left == kEach);
  CHECK(right == kEach);
  CHECK(is_ordered);
}
