#include "modules/file_quiet.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/limits.h"
#include "eventually.h"
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

constexpr int kForEver = std::numeric_limits<int>::max();

// Writes to the file from a thread of its own, without a pause if the machine lets it.
class Writer {
 public:
  explicit Writer(Bench& bench) : bench_(bench), last_ms_(hrmr::monotonic_ms()) { bench.write(""); }
  ~Writer() { end(); }
  void write(int times) {
    thread_ = std::thread([this, times] {
      for (int i = 0; i < times && !is_over_; ++i) write_once();
    });
  }
  void end() {
    is_over_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // Whether the file may have been quiet between two writes.
  bool has_paused() const { return longest_pause_ms_ >= hrmr::limits::kFileQuietMs; }

 private:
  void write_once() {
    const uint64_t began_ms = hrmr::monotonic_ms();
    bench_.write(std::to_string(began_ms));
    longest_pause_ms_ = std::max(longest_pause_ms_, hrmr::monotonic_ms() - last_ms_);
    last_ms_ = began_ms;
  }

  Bench& bench_;
  std::atomic<bool> is_over_ = false;
  uint64_t last_ms_;  // not after the last write
  uint64_t longest_pause_ms_ = 0;
  std::thread thread_;
};

// On a busy machine the writer's thread may wait for a processor for so long that the file is quiet
// indeed. What was seen then says nothing, and is looked at again.
template <class Experiment>
void check_with_writer(Experiment experiment) {
  const hrmr::test::Deadline deadline;
  while (true) {
    Bench bench;
    Writer writer(bench);
    const auto check = experiment(bench, writer);
    if (!writer.has_paused()) return check();
    REQUIRE_FALSE(deadline.has_passed());
  }
}

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
  check_with_writer([](Bench& bench, Writer& writer) {
    FileQuiet quiet(bench.path, ".so", bench.stamp());
    writer.write(4);
    const bool is_worth_it = quiet.is_worth_another_try(false);
    const FileStamp seen = quiet.stamp();
    writer.end();
    return [&bench, seen, is_worth_it] {
      CHECK(is_worth_it);
      // It is quiet now, so what it says is what it will say.
      CHECK(seen == bench.stamp());
    };
  });
}

TEST_CASE("a file that never comes to rest is waited for within a bound") {
  check_with_writer([](Bench& bench, Writer& writer) {
    FileQuiet quiet(bench.path, ".so", bench.stamp());
    const uint64_t began_ms = hrmr::monotonic_ms();
    writer.write(kForEver);
    while (quiet.is_worth_another_try(false)) {
    }
    const uint64_t ended_ms = hrmr::monotonic_ms();
    writer.end();
    return [=] { CHECK(ended_ms >= began_ms + hrmr::limits::kFileQuietWaitMs); };
  });
}

TEST_CASE("a module without a file, and a file that is gone, are not waited for") {
  CHECK_FALSE(FileQuiet("", ".so", FileStamp()).is_worth_another_try(false));
  Bench bench;
  bench.age();
  FileQuiet quiet(bench.path, ".so", bench.stamp());
  std::filesystem::remove(bench.path);
  CHECK_FALSE(quiet.is_worth_another_try(false));
}
