#include "modules/private_folder.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "module_gallery.h"

using hrmr::modules::PrivateFolder;

namespace {

// TMPDIR for one test, so that it meets nobody else's folders.
class OwnTempFolder {
 public:
  OwnTempFolder() { ::setenv("TMPDIR", folder_.path().c_str(), 1); }
  ~OwnTempFolder() {
    if (had_before_) {
      ::setenv("TMPDIR", before_.c_str(), 1);
    } else {
      ::unsetenv("TMPDIR");
    }
  }
  size_t count() const {
    const std::filesystem::directory_iterator at(folder_.path());
    return static_cast<size_t>(std::distance(begin(at), end(at)));
  }
  const hrmr::test::TempFolder& folder() const { return folder_; }

 private:
  bool had_before_ = std::getenv("TMPDIR") != nullptr;
  std::string before_ = had_before_ ? std::getenv("TMPDIR") : "";
  hrmr::test::TempFolder folder_;
};

}  // namespace

TEST_CASE("makes one folder, and removes it with what is inside") {
  const OwnTempFolder temp;
  {
    PrivateFolder folder;
    CHECK(folder.path() == "");
    REQUIRE(folder.open().is_ok());
    const std::string path = folder.path();
    REQUIRE(folder.open().is_ok());
    CHECK(folder.path() == path);
    hrmr::test::write_file(path + "/left_behind", "x");
    CHECK(temp.count() == 1);
  }
  CHECK(temp.count() == 0);
}

TEST_CASE("makes another folder when somebody has removed the first") {
  const OwnTempFolder temp;
  PrivateFolder folder;
  REQUIRE(folder.open().is_ok());
  std::filesystem::remove_all(folder.path());
  REQUIRE(folder.open().is_ok());
  CHECK(std::filesystem::exists(folder.path()));
  CHECK(temp.count() == 1);
}

TEST_CASE("removes the folder of a process that died, and no other") {
  const OwnTempFolder temp;
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    auto* lost = new PrivateFolder;
    _exit(lost->open().is_ok() ? 0 : 1);
  }
  int result = -1;
  REQUIRE(::waitpid(child, &result, 0) == child);
  REQUIRE(result == 0);
  CHECK(temp.count() == 1);
  // Somebody's work, under a name that could be ours.
  std::filesystem::create_directory(temp.folder() / "hrmr-module");
  hrmr::test::write_file(temp.folder() / "hrmr-module/good.cpp", "work");
  hrmr::test::write_file(temp.folder() / "hrmr-ghijkl", "a file");
  PrivateFolder used;
  REQUIRE(used.open().is_ok());
  CHECK(temp.count() == 3);
  PrivateFolder beside;
  REQUIRE(beside.open().is_ok());
  CHECK(temp.count() == 4);
  CHECK(std::filesystem::exists(used.path()));
  CHECK(hrmr::test::read_file(temp.folder() / "hrmr-module/good.cpp") == "work");
}

TEST_CASE("says when there is no folder for temporary files") {
  const OwnTempFolder temp;
  ::setenv("TMPDIR", (temp.folder() / "absent").c_str(), 1);
  PrivateFolder folder;
  const hrmr::Status status = folder.open();
  REQUIRE_FALSE(status.is_ok());
  CHECK(hrmr::test::contains(status.message(), "no folder for temporary files"));
}
