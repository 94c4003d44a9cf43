#include "modules/file_watcher.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/limits.h"
#include "module_gallery.h"

using hrmr::Log;
using hrmr::modules::FileWatcher;
using hrmr::modules::SettledModules;
using hrmr::modules::WatchOptions;
using hrmr::test::contains;
using hrmr::test::replace_file;
using hrmr::test::take_log;
using hrmr::test::TempFolder;
using hrmr::test::write_file;
namespace fs = std::filesystem;
namespace limits = hrmr::limits;

namespace {

// A watcher on PARENT/modules, and a clock that stands still until it is told. The kernel has
// queued a notice when the call that caused it returns, so nothing here waits.
struct Bench {
  explicit Bench(uint64_t poll_ms = 0) {
    fs::create_directory(folder);
    options.places = {folder};
    options.suffixes = {".so", ".py"};
    options.poll_ms = poll_ms;
  }

  FileWatcher& watcher() {
    if (watcher_ == nullptr) {
      watcher_ = std::make_unique<FileWatcher>(options, log);
      watcher_->open();
    }
    return *watcher_;
  }
  // "a, b gone": what has settled when that much more time has passed.
  std::string after(uint64_t ms) {
    now_ms += ms;
    const SettledModules settled = watcher().look(now_ms);
    std::string text;
    for (const std::string& name : settled.names) {
      text += (text.empty() ? "" : ", ") + name + (settled.gone.contains(name) ? " gone" : "");
    }
    return text;
  }
  // What settles of what has happened up to now: soon, and only later.
  std::string soon() {
    CHECK(after(0) == "");
    return after(limits::kSavedQuietMs);
  }
  std::string late() {
    CHECK(soon() == "");
    return after(limits::kAbsentQuietMs);
  }
  std::string operator/(const std::string& name) const { return folder + "/" + name; }

  TempFolder parent;
  std::string folder = parent / "modules";
  WatchOptions options;
  Log log;
  uint64_t now_ms = 1'000'000;

 private:
  std::unique_ptr<FileWatcher> watcher_;
};

}  // namespace

TEST_CASE("sees saves in place, replacements, links and new files, each once") {
  Bench bench;
  write_file(bench / "a.so", "1");
  bench.watcher();
  CHECK(bench.after(99999) == "");
  write_file(bench / "a.so", "2");
  CHECK(bench.soon() == "a");
  replace_file(bench / "a.so", "3");
  CHECK(bench.soon() == "a");
  write_file(bench.parent / "built", "1");
  fs::create_hard_link(bench.parent / "built", bench / "b.so");
  fs::remove(bench.parent / "built");  // one name again, as if it had been made here
  fs::create_symlink("a.so", bench / "c.so");
  CHECK(bench.soon() == "b, c");
  write_file(bench / "d.py", "4");
  CHECK(bench.soon() == "d");
  CHECK(bench.after(99999) == "");
  CHECK(bench.watcher().look_again_ms() == 0);
}

TEST_CASE("leaves files alone that are no modules") {
  Bench bench;
  bench.watcher();
  for (const char* name : {"_a.py", ".b.so", "notes.txt", "4913", "c.so.part", ".so"}) {
    write_file(bench / name, "1");
  }
  fs::create_directory(bench / "folder.so");
  fs::permissions(bench.folder, fs::perms::owner_all);
  CHECK(bench.after(0) == "");
  CHECK(bench.watcher().look_again_ms() == 0);
}

TEST_CASE("waits for a writer, and takes its neighbour meanwhile") {
  Bench bench;
  bench.watcher();
  std::ofstream slow(bench / "slow.so", std::ios::binary);
  CHECK(bench.after(0) == "");
  CHECK(bench.watcher().look_again_ms() == limits::kUnsettledLookMs);
  CHECK(bench.after(limits::kWriterSilenceMs - 1) == "");
  slow << "half" << std::flush;
  CHECK(bench.after(limits::kWriterSilenceMs - 100) == "");
  write_file(bench / "quick.so", "whole");
  CHECK(bench.soon() == "quick");
  slow << "whole" << std::flush;
  CHECK(bench.after(limits::kWriterSilenceMs - 1) == "");
  slow.close();
  CHECK(bench.soon() == "slow");
}

TEST_CASE("counts a writer as done that is silent for long") {
  Bench bench;
  bench.watcher();
  std::ofstream open_for_ever(bench / "a.py");
  open_for_ever << "1" << std::flush;
  CHECK(bench.after(0) == "");
  CHECK(bench.after(limits::kWriterSilenceMs) == "a");
}

TEST_CASE("a writer of a file that was replaced does not end the wait for the new one") {
  Bench bench;
  bench.watcher();
  std::ofstream old_writer(bench / "a.so");
  old_writer << "old" << std::flush;
  fs::remove(bench / "a.so");
  std::ofstream new_writer(bench / "a.so");
  new_writer << "half" << std::flush;
  CHECK(bench.after(0) == "");
  old_writer.close();
  CHECK(bench.late() == "");
  new_writer.close();
  CHECK(bench.soon() == "a");
}

TEST_CASE("a file that is gone is gone only after a while") {
  Bench bench;
  write_file(bench / "a.so", "1");
  bench.watcher();
  fs::remove(bench / "a.so");
  CHECK(bench.late() == "a gone");
  write_file(bench / "a.so", "2");
  CHECK(bench.soon() == "a");
  fs::rename(bench / "a.so", bench / "a.so~");
  CHECK(bench.after(100) == "");
  write_file(bench / "a.so", "3");
  CHECK(bench.soon() == "a");
  CHECK(bench.after(99999) == "");
}

TEST_CASE("a file that was saved while its module was given out is given out again") {
  Bench bench;
  bench.watcher();
  write_file(bench / "a.so", "1");
  CHECK(bench.soon() == "a");
  write_file(bench / "a.so", "2");  // the reload may have read the old bytes
  CHECK(bench.soon() == "a");
}

TEST_CASE("the last of many saves settles") {
  Bench bench;
  bench.watcher();
  std::string settled;
  for (int i = 0; i < 200; ++i) {
    replace_file(bench / "a.so", std::to_string(i));
    settled += bench.after(1);
  }
  CHECK(settled == "");
  CHECK(bench.soon() == "a");
}

TEST_CASE("a folder of modules may come, go and come back") {
  for (const uint64_t poll_ms : {uint64_t{0}, uint64_t{100}}) {
    CAPTURE(poll_ms);
    Bench bench(poll_ms);
    fs::remove(bench.folder);
    bench.options.places = {bench / "deep/er"};
    bench.watcher();
    fs::create_directories(bench / "deep/er");
    CHECK(bench.after(0) == "");
    write_file(bench / "deep/er/a.so", "1");
    CHECK(bench.after(0) == "");
    CHECK(bench.after(limits::kAbsentQuietMs) == "a");
    fs::rename(bench / "deep", bench / "away");
    CHECK(bench.after(0) == "");
    CHECK(bench.after(limits::kAbsentQuietMs) == "a gone");
    write_file(bench / "away/er/a.so", "unseen");
    CHECK(bench.after(0) == "");
    CHECK(bench.after(limits::kAbsentQuietMs) == "");
    fs::rename(bench / "away", bench / "deep");
    CHECK(bench.after(0) == "");
    CHECK(bench.after(limits::kAbsentQuietMs) == "a");
    fs::remove_all(bench.folder);
    fs::create_directories(bench / "deep/er");
    write_file(bench / "deep/er/b.so", "1");
    CHECK(bench.after(0) == "");
    CHECK(bench.after(limits::kAbsentQuietMs) == "a gone, b");
    write_file(bench / "deep/er/b.so", "2");
    CHECK(bench.after(0) == "");
    CHECK(bench.after(limits::kAbsentQuietMs) == "b");
  }
}

TEST_CASE("a single file is watched, its neighbours are not") {
  Bench bench;
  bench.options.places = {bench / "one.so"};
  bench.watcher();
  write_file(bench / "other.so", "1");
  CHECK(bench.late() == "");
  write_file(bench / "one.so", "1");
  CHECK(bench.soon() == "one");
  fs::remove(bench / "one.so");
  CHECK(bench.late() == "one gone");
}

TEST_CASE("follows links: to files, on the way to them, and pointed elsewhere") {
  Bench bench;
  TempFolder elsewhere;
  fs::create_directories(elsewhere / "v1");
  fs::create_directories(elsewhere / "v2");
  write_file(elsewhere / "v1/x.so", "1");
  write_file(elsewhere / "v2/x.so", "2");
  fs::create_directory_symlink("v1", elsewhere / "current");
  fs::create_symlink(elsewhere / "current/x.so", bench / "a.so");
  bench.watcher();
  write_file(elsewhere / "v1/x.so", "1b");
  CHECK(bench.soon() == "a");
  CHECK(bench.after(99999) == "");
  replace_file(elsewhere / "v1/x.so", "1c");
  CHECK(bench.soon() == "a");
  CHECK(bench.after(99999) == "");
  fs::create_directory_symlink("v2", elsewhere / "new");
  fs::rename(elsewhere / "new", elsewhere / "current");
  CHECK(bench.late() == "a");
  write_file(elsewhere / "v2/x.so", "2b");
  CHECK(bench.soon() == "a");
  // At once after the link was switched over, what it leads to is watched.
  fs::create_symlink(elsewhere / "v1/x.so", bench / "new");
  fs::rename(bench / "new", bench / "a.so");
  CHECK(bench.soon() == "a");
  write_file(elsewhere / "v1/x.so", "1d");
  CHECK(bench.soon() == "a");
}

TEST_CASE("a place that is a link may be pointed elsewhere") {
  Bench bench;
  fs::create_directory(bench / "v1");
  fs::create_directory(bench / "v2");
  write_file(bench / "v1/a.so", "1");
  write_file(bench / "v2/a.so", "2");
  fs::create_directory_symlink("v1", bench / "current");
  bench.options.places = {bench / "current"};
  bench.watcher();
  fs::create_directory_symlink("v2", bench / "new");
  fs::rename(bench / "new", bench / "current");
  CHECK(bench.late() == "a");
  write_file(bench / "v1/a.so", "unseen");
  CHECK(bench.late() == "");
  write_file(bench / "v2/a.so", "2b");
  CHECK(bench.soon() == "a");
}

TEST_CASE("whatever changes within a package counts for it") {
  Bench bench;
  bench.watcher();
  fs::create_directory(bench / "p");
  write_file(bench / "p/x.py", "1");
  CHECK(bench.late() == "");  // no package yet
  write_file(bench / "p/__init__.py", "1");
  CHECK(bench.soon() == "p");
  write_file(bench / "p/x.py", "2");
  CHECK(bench.soon() == "p");
  fs::create_directories(bench / "p/deep/deeper");
  write_file(bench / "p/deep/deeper/_y.py", "1");
  CHECK(bench.late() == "p");
  write_file(bench / "p/deep/deeper/_y.py", "2");
  CHECK(bench.soon() == "p");
  fs::create_directory(bench / "p/__pycache__");
  write_file(bench / "p/__pycache__/x.py", "1");
  write_file(bench / "p/.x.py", "1");
  write_file(bench / "p/notes.txt", "1");
  CHECK(bench.late() == "");
  fs::remove(bench / "p/x.py");
  CHECK(bench.late() == "p");
  fs::remove_all(bench / "p");
  CHECK(bench.late() == "p gone");
}

TEST_CASE("notices that the kernel has dropped are made good") {
  Bench bench;
  write_file(bench / "a.so", "1");
  write_file(bench / "b.so", "1");
  bench.watcher();
  std::string limit;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> limit;
  write_file(bench / "_1", "");
  write_file(bench / "_2", "");
  for (int i = 0; i <= std::stoi(limit) / 2; ++i) {  // two notices for each
    fs::rename(bench / "_1", bench / "_2");
    fs::rename(bench / "_2", bench / "_1");
  }
  fs::remove(bench / "b.so");
  write_file(bench / "c.so", "1");
  std::string settled;
  while (settled.empty() && bench.now_ms < 2'000'000) settled = bench.after(50);
  CHECK(settled == "a, b gone, c");
  write_file(bench / "c.so", "2");
  CHECK(bench.soon() == "c");
}

TEST_CASE("polling sees what changes, once it rests") {
  Bench bench(1000);
  write_file(bench / "a.so", "1");
  CHECK(bench.watcher().fd() == -1);
  CHECK(bench.watcher().look_again_ms() == 1000);
  write_file(bench / "a.so", "22");
  CHECK(bench.after(1000) == "");
  CHECK(bench.watcher().look_again_ms() == limits::kUnsettledPollMs);
  CHECK(bench.after(limits::kAbsentQuietMs - 1) == "");
  write_file(bench / "a.so", "333");
  CHECK(bench.after(1) == "");
  CHECK(bench.after(limits::kAbsentQuietMs) == "a");
  CHECK(bench.watcher().look_again_ms() == 1000);
  CHECK(bench.after(1000) == "");
  fs::remove(bench / "a.so");
  CHECK(bench.late() == "a gone");
}

TEST_CASE("without inotify it says which limit was met, and polls") {
  Bench bench;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit none = before;
  none.rlim_cur = 0;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  bench.watcher();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  const std::string log = take_log(bench.log);
  CHECK(contains(log, "the limit fs.inotify.max_user_instances"));
  CHECK(contains(log, "sysctl"));
  CHECK(contains(log, "--watch-poll"));
  CHECK(bench.watcher().look_again_ms() == limits::kFallbackPollMs);
  write_file(bench / "a.so", "1");
  CHECK(bench.late() == "a");
  CHECK(take_log(bench.log) == "");
}

TEST_CASE("more folders than may be watched are a warning, once") {
  Bench bench;
  fs::create_directory(bench / "p");
  write_file(bench / "p/__init__.py", "1");
  for (size_t i = 0; i < limits::kWatchedFoldersMax; ++i) {
    fs::create_directory(bench / ("p/f" + std::to_string(i)));
  }
  bench.watcher();
  CHECK(contains(take_log(bench.log), "more than 4096 folders"));
  write_file(bench / "p/__init__.py", "2");
  CHECK(bench.soon() == "p");
  CHECK(take_log(bench.log) == "");
}
