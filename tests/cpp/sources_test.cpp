#include "modules/sources.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "base/limits.h"
#include "fake_loader.h"
#include "module_gallery.h"

using hrmr::Result;
using hrmr::modules::FileStamp;
using hrmr::modules::read_package_stamp;
using hrmr::modules::read_sources;
using hrmr::modules::read_stamp;
using hrmr::modules::Sources;
using hrmr::test::contains;
using hrmr::test::FakeModules;
using hrmr::test::message_of;
using hrmr::test::TempFolder;
using hrmr::test::write_file;
namespace limits = hrmr::limits;

namespace {

FileStamp stamp(const std::string& folder) {
  FileStamp stamp;
  REQUIRE(read_stamp(folder, stamp, ".py"));
  return stamp;
}

std::string why_not(const std::string& folder) {
  const Result<FileStamp> stamp = read_package_stamp(folder, ".py");
  REQUIRE_FALSE(stamp.is_ok());
  return stamp.message();
}

}  // namespace

TEST_CASE("a package is all files of the suffix, however deep") {
  TempFolder folder;
  std::filesystem::create_directories(folder / "a/b");
  std::filesystem::create_directories(folder / "__pycache__");
  std::filesystem::create_directories(folder / ".git");
  write_file(folder / "__init__.py", "1");
  write_file(folder / "_private.py", "2");
  write_file(folder / "a/b/c.py", "3");
  for (const char* other : {"a/page.html", ".#__init__.py", "__pycache__/a.py", ".git/a.py"}) {
    write_file(folder / other, "no");
  }
  std::filesystem::create_symlink("nobody@nowhere", folder / "lock.py");
  const Result<Sources> sources = read_sources(folder.path(), ".py");
  REQUIRE(sources.is_ok());
  CHECK(sources.value() == Sources{{folder / "__init__.py", "1"},
                                   {folder / "_private.py", "2"},
                                   {folder / "a/b/c.py", "3"}});
}

TEST_CASE("the stamp of a package changes with each of its files, and with nothing else") {
  TempFolder folder;
  std::filesystem::create_directories(folder / "a");
  write_file(folder / "__init__.py", "1");
  write_file(folder / "a/b.py", "2");
  const FileStamp before = stamp(folder.path());
  write_file(folder / "a/page.html", "no");
  std::filesystem::create_directories(folder / "__pycache__");
  CHECK(stamp(folder.path()) == before);
  std::filesystem::rename(folder / "a/b.py", folder / "a/c.py");
  const FileStamp renamed = stamp(folder.path());
  CHECK(renamed != before);
  write_file(folder / "a/c.py", "22");
  const FileStamp written = stamp(folder.path());
  CHECK(written != renamed);
  CHECK(written.size_bytes == 3);
  write_file(folder / "new.py", "");
  const FileStamp added = stamp(folder.path());
  CHECK(added != written);
  std::filesystem::remove(folder / "new.py");
  CHECK(stamp(folder.path()) != added);
  CHECK(stamp(folder.path()).files == written.files);
}

TEST_CASE("a folder that is too large for a package is refused") {
  TempFolder folder;
  std::string deep = folder.path();
  for (size_t depth = 1; depth < limits::kPackageDepthMax; ++depth) deep += "/d";
  std::filesystem::create_directories(deep);
  CHECK(read_package_stamp(folder.path(), ".py").is_ok());
  std::filesystem::create_directories(deep + "/d");
  CHECK(contains(why_not(folder.path()), "it is nested deeper than 16 folders"));
  std::filesystem::remove_all(folder / "d");
  std::filesystem::create_directory_symlink(folder.path(), folder / "circle");
  CHECK(contains(why_not(folder.path()), "it is nested deeper than 16 folders"));
  std::filesystem::remove(folder / "circle");

  write_file(folder / "large.py", "");
  std::filesystem::resize_file(folder / "large.py", limits::kPackageBytesMax);
  CHECK(read_package_stamp(folder.path(), ".py").is_ok());
  std::filesystem::resize_file(folder / "large.py", limits::kPackageBytesMax + 1);
  CHECK(contains(why_not(folder.path()), "it has more than 67108864 bytes"));
  std::filesystem::remove(folder / "large.py");

  for (size_t i = 0; i < limits::kPackageFilesMax; ++i) {
    write_file(folder / (std::to_string(i) + ".py"), "");
  }
  CHECK(read_package_stamp(folder.path(), ".py").is_ok());
  write_file(folder / "last.py", "");
  CHECK(contains(why_not(folder.path()), "it has more than 4096 files and folders"));
}

TEST_CASE("a file is a source too, and one that is gone an error") {
  TempFolder folder;
  write_file(folder / "a.py", "1");
  CHECK(read_sources(folder / "a.py", ".py").value() == Sources{{folder / "a.py", "1"}});
  const Result<Sources> gone = read_sources(folder / "b.py", ".py");
  REQUIRE_FALSE(gone.is_ok());
  CHECK(gone.message() == "cannot read " + (folder / "b.py") + ": No such file or directory");
}

TEST_CASE("a folder with a loader's package file in it is a module") {
  FakeModules bench;
  bench.loader.package = "main.fake";
  std::filesystem::create_directories(bench.folder / "pack");
  write_file(bench.folder / "pack/other.fake", "no module yet");
  CHECK(bench.reload() == "");
  write_file(bench.folder / "pack/main.fake", "A");
  CHECK(bench.reload() == "pack loaded 1");
  CHECK(bench.loader.requests.back().path == bench.folder / "pack");
  CHECK(bench.loops.ask("A") == "A");
  write_file(bench.folder / "pack/main.fake", "AB");
  CHECK(bench.reload() == "pack reloaded 2");
  CHECK(bench.reload() == "pack unchanged 2");

  bench.put("pack", "B");
  CHECK(bench.reload() == "pack failed 2");
  CHECK(contains(message_of(bench.report, "pack"),
                 "both " + (bench.folder / "pack") + " and " + (bench.folder / "pack.fake")));
  bench.remove("pack");
  for (const char* name : {"_private", ".hidden", "two words"}) {
    std::filesystem::create_directories(bench.folder / name);
    write_file(bench.folder / (std::string(name) + "/main.fake"), name);
  }
  CHECK(bench.reload() == "pack unchanged 2, two words failed 0");
  std::filesystem::remove_all(bench.folder / "two words");
  std::filesystem::remove(bench.folder / "pack/main.fake");
  CHECK(bench.reload() == "pack removed 0");
}

TEST_CASE("a package that has become too large fails, its old generation stays") {
  FakeModules bench;
  bench.loader.package = "main.fake";
  std::filesystem::create_directories(bench.folder / "pack");
  write_file(bench.folder / "pack/main.fake", "A");
  CHECK(bench.reload() == "pack loaded 1");
  std::filesystem::create_directory_symlink(bench.folder / "pack", bench.folder / "pack/circle");
  CHECK(bench.reload() == "pack failed 1");
  CHECK(contains(message_of(bench.report, "pack"), "is nested deeper than 16 folders"));
  CHECK(bench.loops.ask("A") == "A");
}
