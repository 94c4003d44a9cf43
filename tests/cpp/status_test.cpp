#include "base/status.h"

#include <doctest/doctest.h>

#include <memory>

namespace {

using hrmr::errno_status;
using hrmr::Result;
using hrmr::Status;

Result<std::unique_ptr<int>> make(int value) {
  if (value < 0) return Status::error("negative");
  return std::make_unique<int>(value);
}

}  // namespace

TEST_CASE("a status is ok or says why not") {
  CHECK(Status::ok().is_ok());
  CHECK(Status::ok().message().empty());
  CHECK_FALSE(Status::error("why").is_ok());
  CHECK(Status::error("why").message() == "why");
}

TEST_CASE("an error without words is an error still") {
  CHECK_FALSE(Status::error("").is_ok());
  CHECK(Status::error("").message() == "unknown error");
}

TEST_CASE("an errno status names attempt, object and reason") {
  CHECK(errno_status("open", "/a/b", ENOENT).message() ==
        "cannot open /a/b: No such file or directory");
  errno = EACCES;
  CHECK(errno_status("open", "c").message() == "cannot open c: Permission denied");
}

TEST_CASE("a result holds a value that can be moved out, or the status") {
  Result<std::unique_ptr<int>> good = make(7);
  REQUIRE(good.is_ok());
  CHECK(good.status().is_ok());
  CHECK(*good.value() == 7);
  const std::unique_ptr<int> taken = good.take();
  CHECK(*taken == 7);

  const Result<std::unique_ptr<int>> bad = make(-1);
  CHECK_FALSE(bad.is_ok());
  CHECK(bad.message() == "negative");
  CHECK(bad.status().message() == "negative");
}

TEST_CASE("a result of a string is not taken for an error") {
  const Result<std::string> text = std::string("text");
  REQUIRE(text.is_ok());
  CHECK(text.value() == "text");
}
