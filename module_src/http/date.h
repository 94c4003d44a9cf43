// Date: HTTP dates (RFC 9110 section 5.6.7), read and written. Pure: no clock, no locale, no time
// zone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace http {

constexpr size_t kDateBytes = 29;

namespace detail {

constexpr std::string_view kDays = "SunMonTueWedThuFriSat";
constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";

struct Civil {
  int64_t year = 1970;
  int month = 1;  // 1 to 12
  int day = 1;    // 1 to 31
};

// Proleptic Gregorian calendar; days since 1970-01-01.
constexpr int64_t days_from_civil(const Civil& date) {
  const int64_t year = date.year - (date.month <= 2 ? 1 : 0);
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year =
      (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

constexpr Civil civil_from_days(int64_t days) {
  days += 719468;
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const int64_t day_of_era = days - era * 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t shifted = (5 * day_of_year + 2) / 153;
  Civil date;
  date.day = static_cast<int>(day_of_year - (153 * shifted + 2) / 5 + 1);
  date.month = static_cast<int>(shifted < 10 ? shifted + 3 : shifted - 9);
  date.year = year_of_era + era * 400 + (date.month <= 2 ? 1 : 0);
  return date;
}

constexpr int days_in_month(int64_t year, int month) {
  if (month == 2) return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

// Takes a date apart from left to right; once something is not as it must be, nothing is any more.
class DateReader {
 public:
  explicit DateReader(std::string_view text) : rest_(text) {}

  void literal(std::string_view expected) {
    if (!starts_with(expected)) return fail();
    rest_.remove_prefix(expected.size());
  }
  // Exactly that many digits; with `is_padded`, the first one may be a space.
  int number(size_t digits, bool is_padded = false) {
    int value = 0;
    for (size_t i = 0; i < digits; ++i) {
      const char c = i < rest_.size() ? rest_[i] : '\0';
      if (i == 0 && is_padded && c == ' ') continue;
      if (c < '0' || c > '9') {
        fail();
        return 0;
      }
      value = value * 10 + (c - '0');
    }
    rest_.remove_prefix(digits);
    return value;
  }
  // The number of one of the three-letter `names`, from 0.
  int name(std::string_view names) {
    for (size_t at = 0; at < names.size(); at += 3) {
      if (!starts_with(names.substr(at, 3))) continue;
      rest_.remove_prefix(3);
      return static_cast<int>(at / 3);
    }
    fail();
    return 0;
  }
  // The rest of a day's full name, behind its first three letters.
  void day_ending(int day) {
    constexpr std::string_view kEndings[] = {"day",   "day", "sday", "nesday",
                                             "rsday", "day", "urday"};
    literal(kEndings[day]);
  }
  bool starts_with(std::string_view text) const { return rest_.substr(0, text.size()) == text; }
  bool is_done() const { return !has_failed_ && rest_.empty(); }

 private:
  void fail() {
    has_failed_ = true;
    rest_ = {};
  }

  std::string_view rest_;
  bool has_failed_ = false;
};

struct DateParts {
  Civil date;
  int64_t second_of_day = 0;
};

inline int64_t read_time(DateReader& reader) {
  const int hour = reader.number(2);
  reader.literal(":");
  const int minute = reader.number(2);
  reader.literal(":");
  const int second = reader.number(2);
  // 60: a leap second, which is the one after it to a clock that does not count them.
  if (hour > 23 || minute > 59 || second > 60) reader.literal("no time of a day");
  return hour * 3600 + minute * 60 + second;
}

}  // namespace detail

// Seconds since 1970 of an IMF-fixdate ("Sun, 06 Nov 1994 08:49:37 GMT") or of one of the two old
// forms ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"); nothing if it is none of
// them, or no day of the calendar. Case matters; the day of the week need not fit. `now_s` decides
// the century of a year of two digits: at most 50 years ahead.
inline std::optional<int64_t> parse_date(std::string_view text, int64_t now_s) {
  using namespace detail;
  DateReader reader(text);
  DateParts parts;
  Civil& date = parts.date;
  const int week_day = reader.name(kDays);
  if (reader.starts_with(", ")) {
    reader.literal(", ");
    date.day = reader.number(2);
    reader.literal(" ");
    date.month = reader.name(kMonths) + 1;
    reader.literal(" ");
    date.year = reader.number(4);
    reader.literal(" ");
    parts.second_of_day = read_time(reader);
    reader.literal(" GMT");
  } else if (reader.starts_with(" ")) {
    reader.literal(" ");
    date.month = reader.name(kMonths) + 1;
    reader.literal(" ");
    date.day = reader.number(2, true);
    reader.literal(" ");
    parts.second_of_day = read_time(reader);
    reader.literal(" ");
    date.year = reader.number(4);
  } else {
    reader.day_ending(week_day);
    reader.literal(", ");
    date.day = reader.number(2);
    reader.literal("-");
    date.month = reader.name(kMonths) + 1;
    reader.literal("-");
    const int64_t this_year = civil_from_days(now_s / 86400).year;
    date.year = this_year - this_year % 100 + reader.number(2);
    while (date.year > this_year + 50) date.year -= 100;
    while (date.year <= this_year - 50) date.year += 100;
    reader.literal(" ");
    parts.second_of_day = read_time(reader);
    reader.literal(" GMT");
  }
  if (!reader.is_done()) return std::nullopt;
  if (date.day < 1 || date.day > days_in_month(date.year, date.month)) return std::nullopt;
  return days_from_civil(date) * 86400 + parts.second_of_day;
}

// As an IMF-fixdate. Years 0 to 9999; what is beyond them becomes their first or last second.
class DateText {
 public:
  DateText() : DateText(0) {}
  explicit DateText(int64_t seconds) {
    constexpr int64_t kFirst = -62167219200;
    constexpr int64_t kLast = 253402300799;
    if (seconds < kFirst) seconds = kFirst;
    if (seconds > kLast) seconds = kLast;
    const int64_t second = ((seconds % 86400) + 86400) % 86400;
    const int64_t days = (seconds - second) / 86400;
    const detail::Civil date = detail::civil_from_days(days);
    const auto week_day = static_cast<size_t>(((days + 4) % 7 + 7) % 7);  // 1970-01-01: Thursday
    put(detail::kDays.substr(week_day * 3, 3));
    put(", ");
    put_number(date.day, 2);
    put(" ");
    put(detail::kMonths.substr(static_cast<size_t>(date.month - 1) * 3, 3));
    put(" ");
    put_number(date.year, 4);
    put(" ");
    put_number(second / 3600, 2);
    put(":");
    put_number(second / 60 % 60, 2);
    put(":");
    put_number(second % 60, 2);
    put(" GMT");
  }
  std::string_view view() const { return {text_, kDateBytes}; }

 private:
  void put(std::string_view part) {
    for (const char c : part) text_[size_++] = c;
  }
  void put_number(int64_t number, int digits) {
    for (int i = digits; i > 0; --i, number /= 10)
      text_[size_ + static_cast<size_t>(i) - 1] = static_cast<char>('0' + number % 10);
    size_ += static_cast<size_t>(digits);
  }

  size_t size_ = 0;
  char text_[kDateBytes];
};

}  // namespace http
