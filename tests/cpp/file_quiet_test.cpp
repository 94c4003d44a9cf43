#include "modules/file_quiet.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/limits.h"
#include "module_gallery.h"

using hrmr::modules::FileQuiet;
using hrmr::modules::FileStamp;
using hrmr::modules::read_stamp;

namespace {

struct Bench {
  Bench() { write("one"); }
  void write(const std::string& content) { hrmr::test::write_file(path, content); }
  void age() {
    const auto now = std::filesystem::file_time_type::clock::now();
    std::filesystem::last_write_time(path, now - std::chrono::hours(1));
  }
  FileStamp stamp() const {
    FileStamp stamp;
    REQUIRE(read_stamp(path, stamp));
    return stamp;
  }

  hrmr::test::TempFolder folder;
  std::string path = folder / "module.so";
};

}  // namespace

TEST_CASE("what went well and stayed as it was is not tried again, however young") {
  Bench bench;
  FileQuiet quiet(bench.path, ".so", bench.stamp());
  CHECK_FALSE(quiet.is_worth_another_try(true));
}

TEST_CASE("what failed and is old is not tried again") {
  Bench bench;
  bench.age();
  FileQuiet quiet(bench.path, ".so", bench.stamp());
  CHECK_FALSE(quiet.is_worth_another_try(false));
}

TEST_CASE("a file that changed since it was looked at is tried again, once") {
  Bench bench;
  bench.age();
  FileQuiet quiet(bench.path, ".so", bench.stamp());
  bench.write("two");
  bench.age();
  CHECK(quiet.is_worth_another_try(true));
  CHECK(quiet.stamp() == bench.stamp());
  CHECK_FALSE(quiet.is_worth_another_try(true));
}

TEST_CASE("a young file that failed is waited for while somebody writes to it") {
  Bench bench;
  FileQuiet quiet(bench.path, ".so", bench.stamp());
  std::thread writer([&] {
    for (const char* text : {"o", "on", "one", "one!"}) bench.write(text);
  });
  CHECK(quiet.is_worth_another_try(false));
  writer.join();
  // It is quiet now, so what it says is what it will say.
  CHECK(quiet.stamp() == bench.stamp());
}

TEST_CASE("a file that never comes to rest is waited for within a bound") {
  Bench bench;
  FileQuiet quiet(bench.path, ".so", bench.stamp());
  const uint64_t began_ms = hrmr::monotonic_ms();
  std::atomic<bool> is_over = false;
  std::thread writer([&] {
    while (!is_over) bench.write(std::to_string(hrmr::monotonic_ms()));
  });
  while (quiet.is_worth_another_try(false)) {
  }
  CHECK(hrmr::monotonic_ms() >= began_ms + hrmr::limits::kFileQuietWaitMs);
  is_over = true;
  writer.join();
}

TEST_CASE("a module without a file, and a file that is gone, are not waited for") {
  CHECK_FALSE(FileQuiet("", ".so", FileStamp()).is_worth_another_try(false));
  Bench bench;
  bench.age();
  FileQuiet quiet(bench.path, ".so", bench.stamp());
  std::filesystem::remove(bench.path);
  CHECK_FALSE(quiet.is_worth_another_try(false));
}
