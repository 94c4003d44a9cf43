// Byte ranges of the http module (module_src/http/ranges.h), by RFC 9110 section 14.
#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "http/ranges.h"

namespace {

using http::ByteRange;
using http::RangeKind;

// "0-4 7-9", "whole" or "416".
std::string asked(std::string_view field, uint64_t size) {
  const http::Ranges ranges = http::parse_ranges(field, size);
  if (ranges.kind == RangeKind::kUnsatisfiable) return "416";
  if (ranges.kind == RangeKind::kWhole) return "whole";
  std::string text;
  for (const ByteRange& part : ranges) {
    CHECK(part.first <= part.last);
    CHECK(part.last < size);
    text +=
        (text.empty() ? "" : " ") + std::to_string(part.first) + "-" + std::to_string(part.last);
  }
  return text;
}

}  // namespace

TEST_CASE("one range") {
  CHECK(asked("bytes=0-0", 10) == "0-0");
  CHECK(asked("bytes=0-9", 10) == "0-9");
  CHECK(asked("bytes=0-10", 10) == "0-9");
  CHECK(asked("bytes=9-", 10) == "9-9");
  CHECK(asked("bytes=9-9", 10) == "9-9");
  CHECK(asked("bytes=0-", 10) == "0-9");
  CHECK(asked("bytes=-1", 10) == "9-9");
  CHECK(asked("bytes=-10", 10) == "0-9");
  CHECK(asked("bytes=-11", 10) == "0-9");
  CHECK(asked("BYTES=1-2", 10) == "1-2");
  CHECK(asked("bytes= 1-2 ", 10) == "1-2");
  CHECK(asked("bytes=,1-2,, ,", 10) == "1-2");
  CHECK(asked("bytes=00001-0002", 10) == "1-2");
  CHECK(asked("bytes=0-18446744073709551615", 10) == "0-9");
  CHECK(asked("bytes=0-99999999999999999999999", 10) == "0-9");
  CHECK(asked("bytes=-99999999999999999999999", 10) == "0-9");
  CHECK(asked("bytes=18446744073709551614-", UINT64_MAX) ==
        "18446744073709551614-18446744073709551614");
}

TEST_CASE("a range that the file does not reach is unsatisfiable") {
  CHECK(asked("bytes=10-", 10) == "416");
  CHECK(asked("bytes=10-20", 10) == "416");
  CHECK(asked("bytes=-0", 10) == "416");
  CHECK(asked("bytes=99999999999999999999999-", 10) == "416");
  CHECK(asked("bytes=10-,-0", 10) == "416");
  CHECK(asked("bytes=10-,9-", 10) == "9-9");
  CHECK(asked("bytes=0-", 0) == "416");
  CHECK(asked("bytes=5-", 0) == "416");
  CHECK(asked("bytes=-5", 0) == "whole");
  CHECK(asked("bytes=0-9,-5", 0) == "whole");
  CHECK(asked("bytes=-5,0-9", 0) == "whole");
  CHECK(asked("bytes=-0", 0) == "416");
  CHECK(asked("bytes=-5,x", 0) == "whole");
}

TEST_CASE("what is not to the letter of the grammar is ignored") {
  for (const std::string_view field :
       {"",           "bytes",         "bytes=",        "bytes=,",       "bytes=-",
        "bytes=a-b",  "bytes=1",       "bytes=2-1",     "bytes=1-2-3",   "bytes=1 -2",
        "bytes=1- 2", "bytes=1-2 3-4", "bytes=1-2;3-4", "bytes =1-2",    " bytes=1-2",
        "lines=1-2",  "byte=1-2",      "bytess=1-2",    "bytes:1-2",     "bytes=+1-2",
        "bytes=--1",  "bytes=0x1-2",   "bytes=1-2,x",   "bytes=1-2,2-1", "sent more than once"}) {
    CAPTURE(field);
    CHECK(asked(field, 10) == "whole");
  }
  CHECK(asked("bytes=2-1", 0) == "whole");
}

TEST_CASE("several ranges keep the client's order, unless they overlap or nearly touch") {
  CHECK(asked("bytes=0-9,1000-1009", 5000) == "0-9 1000-1009");
  CHECK(asked("bytes=1000-1009,0-9", 5000) == "1000-1009 0-9");
  CHECK(asked("bytes=0-9,5-20", 5000) == "0-20");
  CHECK(asked("bytes=0-9,10-20", 5000) == "0-20");
  CHECK(asked("bytes=5-20,0-9", 5000) == "0-20");
  CHECK(asked("bytes=0-20,5-9", 5000) == "0-20");
  CHECK(asked("bytes=5-9,5-9,5-9", 5000) == "5-9");
  CHECK(asked("bytes=0-9,138-140", 5000) == "0-140");  // 128 bytes between them
  CHECK(asked("bytes=0-9,139-140", 5000) == "0-9 139-140");
  CHECK(asked("bytes=4000-,0-9,3990-4100", 5000) == "0-9 3990-4999");
  CHECK(asked("bytes=0-0,-1", 5000) == "0-0 4999-4999");
  CHECK(asked("bytes=0-0,-1", 100) == "0-99");
  CHECK(asked("bytes=0-0,6000-,-1", 5000) == "0-0 4999-4999");
}

TEST_CASE("more ranges than anybody needs are ignored") {
  std::string field = "bytes=";
  for (size_t i = 0; i < http::kRangesMax; ++i) field += std::to_string(i * 1000) + "-,";
  CHECK(asked(field, 1'000'000) == "0-999999");
  std::string scattered = "bytes=";
  for (size_t i = 0; i < http::kRangesMax; ++i)
    scattered += std::to_string(i * 1000) + "-" + std::to_string(i * 1000) + ",";
  CHECK(http::parse_ranges(scattered, 1'000'000).count == http::kRangesMax);
  CHECK(asked(scattered + "-1", 1'000'000) == "whole");
  CHECK(asked(scattered + "9999999-", 1'000'000) == "whole");
}

TEST_CASE("parts never overlap and never hold more than the file") {
  uint64_t seed = 1;
  const auto next = [&seed](uint64_t bound) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % bound;
  };
  for (int round = 0; round < 2000; ++round) {
    const uint64_t size = 1 + next(3000);
    std::string field = "bytes=";
    std::string wanted(size, ' ');
    for (uint64_t left = 1 + next(http::kRangesMax); left > 0; --left) {
      const uint64_t first = next(size);
      const uint64_t last = first + next(400);
      field += std::to_string(first) + "-" + std::to_string(last) + ",";
      for (uint64_t at = first; at <= last && at < size; ++at) wanted[at] = 'x';
    }
    CAPTURE(field);
    std::string sent(size, ' ');
    bool is_twice = false;
    for (const ByteRange& part : http::parse_ranges(field, size)) {
      for (uint64_t at = part.first; at <= part.last; ++at)
        is_twice = std::exchange(sent[at], 'x') == 'x' || is_twice;
    }
    CHECK_FALSE(is_twice);
    bool is_missing = false;
    for (uint64_t at = 0; at < size; ++at)
      is_missing = is_missing || (wanted[at] == 'x' && sent[at] == ' ');
    CHECK_FALSE(is_missing);
  }
}

TEST_CASE("writes Content-Range") {
  CHECK(http::ContentRangeText({0, 499}, 1234).view() == "bytes 0-499/1234");
  CHECK(http::ContentRangeText(0).view() == "bytes */0");
  CHECK(http::ContentRangeText({UINT64_MAX - 1, UINT64_MAX - 1}, UINT64_MAX).view() ==
        "bytes 18446744073709551614-18446744073709551614/18446744073709551615");
}
