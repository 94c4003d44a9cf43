// Dates, entity tags and preconditions of the http module (module_src/http/date.h, etag.h,
// conditional.h), by RFC 9110 sections 5.6.7, 8.8.3 and 13.
#include <doctest/doctest.h>

#include <ctime>
#include <string>

#include "http/conditional.h"

namespace {

using http::Conditions;
using http::Etag;
using http::EtagText;
using http::Verdict;

constexpr int64_t kExample = 784111777;  // Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own
constexpr int64_t kNow = 1'780'000'000;  // in May 2026

std::optional<int64_t> parsed(std::string_view text) { return http::parse_date(text, kNow); }

}  // namespace

TEST_CASE("reads the three forms of a date") {
  CHECK(parsed("Sun, 06 Nov 1994 08:49:37 GMT") == kExample);
  CHECK(parsed("Sunday, 06-Nov-94 08:49:37 GMT") == kExample);
  CHECK(parsed("Sun Nov  6 08:49:37 1994") == kExample);
  CHECK(parsed("Sun Nov 16 08:49:37 1994") == kExample + 10 * 86400);
  CHECK(parsed("Thu, 01 Jan 1970 00:00:00 GMT") == 0);
  CHECK(parsed("Wed, 31 Dec 1969 23:59:59 GMT") == -1);
  CHECK(parsed("Sat, 29 Feb 2020 00:00:00 GMT") == 1582934400);
  CHECK(parsed("Tue, 29 Feb 2000 00:00:00 GMT") == 951782400);
  CHECK(parsed("Sat, 31 Dec 2016 23:59:60 GMT") == 1483228800);  // a leap second
  for (const char* day : {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}) {
    CAPTURE(day);
    CHECK(parsed(std::string(day) + ", 06-Nov-94 08:49:37 GMT") == kExample);
  }
}

TEST_CASE("a year of two digits is at most fifty years ahead") {
  CHECK(parsed("Sunday, 06-Nov-76 08:49:37 GMT") == parsed("Fri, 06 Nov 2076 08:49:37 GMT"));
  CHECK(parsed("Sunday, 06-Nov-77 08:49:37 GMT") == parsed("Sun, 06 Nov 1977 08:49:37 GMT"));
  CHECK(parsed("Sunday, 06-Nov-00 08:49:37 GMT") == parsed("Mon, 06 Nov 2000 08:49:37 GMT"));
  CHECK(parsed("Sunday, 06-Nov-26 08:49:37 GMT") == parsed("Fri, 06 Nov 2026 08:49:37 GMT"));
  constexpr int64_t kIn2099 = 4'090'000'000;
  CHECK(http::parse_date("Sunday, 06-Nov-20 08:49:37 GMT", kIn2099) ==
        parsed("Sun, 06 Nov 2120 08:49:37 GMT"));
}

TEST_CASE("takes nothing else for a date") {
  for (const std::string_view text :
       {"",
        "now",
        "Sun",
        "0",
        "784111777",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 29 Feb 2021 08:49:37 GMT",
        "Sun, 29 Feb 1900 08:49:37 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sonntag, 06-Nov-94 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov 06 08:49:37 94",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT"}) {
    CAPTURE(text);
    CHECK_FALSE(parsed(text).has_value());
  }
}

TEST_CASE("writes every date as it reads it, and as the C library does") {
  CHECK(http::DateText(kExample).view() == "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK(http::DateText(-1).view() == "Wed, 31 Dec 1969 23:59:59 GMT");
  CHECK(http::DateText(INT64_MIN).view() == "Sat, 01 Jan 0000 00:00:00 GMT");
  CHECK(http::DateText(INT64_MAX).view() == "Fri, 31 Dec 9999 23:59:59 GMT");
  for (int64_t seconds = -60'000'000'000; seconds < 250'000'000'000; seconds += 987'654'321) {
    const http::DateText text(seconds);
    CHECK(parsed(text.view()) == seconds);
    const time_t time = seconds;
    tm utc{};
    ::gmtime_r(&time, &utc);
    char expected[64];
    if (utc.tm_year + 1900 < 1000) continue;  // strftime does not pad the year
    ::strftime(expected, sizeof expected, "%a, %d %b %Y %H:%M:%S GMT", &utc);
    CHECK(text.view() == expected);
  }
}

TEST_CASE("a tag tells inode, size, time and strength") {
  const EtagText strong(255, 0, 16, false);
  CHECK(strong.view() == "\"ff-0-10\"");
  CHECK_FALSE(strong.etag().is_weak);
  const EtagText weak(255, 0, 16, true);
  CHECK(weak.view() == "W/\"ff-0-10\"");
  CHECK(weak.etag().is_weak);
  CHECK(weak.etag().is_weakly(strong.etag()));
  CHECK_FALSE(weak.etag().is_strongly(strong.etag()));
  CHECK_FALSE(weak.etag().is_strongly(weak.etag()));
  CHECK(strong.etag().is_strongly(strong.etag()));
  CHECK_FALSE(EtagText(255, 1, 16, false).etag().is_weakly(strong.etag()));
  CHECK(EtagText(UINT64_MAX, UINT64_MAX, -1, true).view().size() == 2 + 2 + 3 * 16 + 2);
}

TEST_CASE("finds a tag in a list") {
  const Etag strong{false, "\"a\""};
  for (const std::string_view list :
       {"\"a\"", "*", "\"b\", \"a\"", "\"b\",\"a\"", ",, \"a\"", "\"a\" , junk", "\"b\" ,\t\"a\"",
        "W/\"b\", \"a\"", "\"a,b\", \"a\""}) {
    CAPTURE(list);
    CHECK(http::etag_list_has(list, strong, true));
    CHECK(http::etag_list_has(list, strong, false));
  }
  for (const std::string_view list :
       {"", "a", "\"", "\"a", "a\"", "W/", "W/a", "w/\"a\"", "\"A\"", "\"a b\"", "\"b\" \"a\"",
        "\"a,\"", "**", "'a'", "\"b\"; \"a\""}) {
    CAPTURE(list);
    CHECK_FALSE(http::etag_list_has(list, strong, false));
  }
  CHECK(http::etag_list_has("W/\"a\"", strong, false));
  CHECK_FALSE(http::etag_list_has("W/\"a\"", strong, true));
  CHECK_FALSE(http::etag_list_has("\"a\"", Etag{true, "\"a\""}, true));
  CHECK(http::etag_list_has("\"a\"", Etag{true, "\"a\""}, false));
}

TEST_CASE("judges preconditions in the order of RFC 9110 section 13.2.2") {
  const http::Validators current{{false, "\"a\""}, kExample, kNow};
  const std::string_view same = "Sun, 06 Nov 1994 08:49:37 GMT";
  const std::string_view older = "Sun, 06 Nov 1994 08:49:36 GMT";
  const std::string_view newer = "Sun, 06 Nov 1994 08:49:38 GMT";
  const auto verdict = [&current](const Conditions& asked) { return http::judge(asked, current); };
  Conditions none;
  CHECK(verdict(none) == Verdict::kGo);

  const auto with = [&](std::string_view Conditions::*field, std::string_view value,
                        Conditions asked = {}) {
    asked.*field = value;
    return asked;
  };
  constexpr auto kMatch = &Conditions::if_match;
  constexpr auto kNone = &Conditions::if_none_match;
  constexpr auto kSince = &Conditions::if_modified_since;
  constexpr auto kUnmodified = &Conditions::if_unmodified_since;
  // step 1
  CHECK(verdict(with(kMatch, "\"a\"")) == Verdict::kGo);
  CHECK(verdict(with(kMatch, "*")) == Verdict::kGo);
  CHECK(verdict(with(kMatch, "\"b\"")) == Verdict::kFailed);
  CHECK(verdict(with(kMatch, "W/\"a\"")) == Verdict::kFailed);
  CHECK(verdict(with(kMatch, "")) == Verdict::kFailed);
  // step 2, only without If-Match
  CHECK(verdict(with(kUnmodified, same)) == Verdict::kGo);
  CHECK(verdict(with(kUnmodified, newer)) == Verdict::kGo);
  CHECK(verdict(with(kUnmodified, older)) == Verdict::kFailed);
  CHECK(verdict(with(kUnmodified, "rubbish")) == Verdict::kGo);
  CHECK(verdict(with(kUnmodified, http::kRepeated)) == Verdict::kGo);
  CHECK(verdict(with(kUnmodified, older, with(kMatch, "\"a\""))) == Verdict::kGo);
  // step 3
  CHECK(verdict(with(kNone, "\"a\"")) == Verdict::kNotModified);
  CHECK(verdict(with(kNone, "W/\"a\"")) == Verdict::kNotModified);
  CHECK(verdict(with(kNone, "*")) == Verdict::kNotModified);
  CHECK(verdict(with(kNone, "\"b\"")) == Verdict::kGo);
  // step 4, only without If-None-Match
  CHECK(verdict(with(kSince, same)) == Verdict::kNotModified);
  CHECK(verdict(with(kSince, newer)) == Verdict::kNotModified);
  CHECK(verdict(with(kSince, older)) == Verdict::kGo);
  CHECK(verdict(with(kSince, "rubbish")) == Verdict::kGo);
  CHECK(verdict(with(kSince, "")) == Verdict::kGo);
  CHECK(verdict(with(kSince, newer, with(kNone, "\"b\""))) == Verdict::kGo);
  // a failed precondition wins over one that would save the transfer
  CHECK(verdict(with(kNone, "\"a\"", with(kMatch, "\"b\""))) == Verdict::kFailed);
  CHECK(verdict(with(kSince, newer, with(kUnmodified, older))) == Verdict::kFailed);
}

TEST_CASE("a range applies to the very same bytes only") {
  const http::Validators current{{false, "\"a\""}, kExample, kNow};
  CHECK(http::range_applies({}, current));
  CHECK(http::range_applies("\"a\"", current));
  CHECK_FALSE(http::range_applies("W/\"a\"", current));
  CHECK_FALSE(http::range_applies("\"b\"", current));
  CHECK_FALSE(http::range_applies("\"a\", \"b\"", current));
  CHECK_FALSE(http::range_applies("*", current));
  CHECK_FALSE(http::range_applies("", current));
  CHECK_FALSE(http::range_applies(http::kRepeated, current));
  CHECK(http::range_applies("Sun, 06 Nov 1994 08:49:37 GMT", current));
  CHECK(http::range_applies("Sun Nov  6 08:49:37 1994", current));
  CHECK_FALSE(http::range_applies("Sun, 06 Nov 1994 08:49:38 GMT", current));
  CHECK_FALSE(http::range_applies("Sun, 06 Nov 1994 08:49:36 GMT", current));
  // Within its second the file may have changed twice.
  CHECK_FALSE(
      http::range_applies("Sun, 06 Nov 1994 08:49:37 GMT", {{false, "\"a\""}, kExample, kExample}));
  CHECK(http::range_applies("Sun, 06 Nov 1994 08:49:37 GMT",
                            {{false, "\"a\""}, kExample, kExample + 1}));
  CHECK_FALSE(http::range_applies("\"a\"", {{true, "\"a\""}, kExample, kNow}));
}
