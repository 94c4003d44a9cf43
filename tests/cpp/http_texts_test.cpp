#include "wire/http_texts.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <ctime>
#include <string>

using namespace hrmr::wire;

namespace {

std::string formatted(int64_t unix_s) {
  std::string text(31, '#');
  format_http_date(unix_s, text.data() + 1);
  CHECK(text.front() == '#');
  CHECK(text.back() == '#');
  return text.substr(1, 29);
}

std::string by_libc(int64_t unix_s) {
  const time_t time = unix_s;
  tm parts{};
  gmtime_r(&time, &parts);
  char text[64];
  const size_t size = strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return std::string(text, size);
}

}  // namespace

TEST_CASE("dates are IMF-fixdates") {
  CHECK(formatted(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK(formatted(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
  CHECK(formatted(951782400) == "Tue, 29 Feb 2000 00:00:00 GMT");
  CHECK(formatted(253402300799) == "Fri, 31 Dec 9999 23:59:59 GMT");
}

TEST_CASE("dates that do not fit are clamped") {
  CHECK(formatted(-1) == "Thu, 01 Jan 1970 00:00:00 GMT");
  CHECK(formatted(253402300800) == "Fri, 31 Dec 9999 23:59:59 GMT");
}

TEST_CASE("dates agree with the C library on every day for 500 years") {
  for (int64_t day = 0; day < 500 * 366; ++day) {
    const int64_t unix_s = day * 86400 + day * 7919 % 86400;
    const bool is_same = formatted(unix_s) == by_libc(unix_s);
    REQUIRE_MESSAGE(is_same, unix_s);
  }
}

TEST_CASE("statuses have their registered phrases") {
  CHECK(reason_phrase(200) == "OK");
  CHECK(reason_phrase(404) == "Not Found");
  CHECK(reason_phrase(503) == "Service Unavailable");
  CHECK(reason_phrase(299) == "Unknown");
  CHECK(reason_phrase(0) == "Unknown");
}
