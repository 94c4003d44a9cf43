#include "wire/http_texts.h"

#include <array>
#include <cstring>

namespace hrmr::wire {
namespace {

void put_digits(char* at, int64_t number, int count) {
  for (int i = count - 1; i >= 0; --i, number /= 10) at[i] = static_cast<char>('0' + number % 10);
}

struct CivilDate {
  int64_t year;
  int month;  // 0 is January
  int64_t day;
};

constexpr bool is_leap(int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

// Days since 1970-01-01, 0 or more.
CivilDate civil_date(int64_t days) {
  constexpr std::array<int, 12> kMonthDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  constexpr int64_t kDaysPer400Years = 146097;
  CivilDate date{1970 + days / kDaysPer400Years * 400, 0, days % kDaysPer400Years};
  // Once per second and loop at most, so plain steps will do.
  while (true) {
    const int64_t in_year = is_leap(date.year) ? 366 : 365;
    if (date.day < in_year) break;
    date.day -= in_year;
    ++date.year;
  }
  while (true) {
    const bool is_leap_february = date.month == 1 && is_leap(date.year);
    const int in_month = kMonthDays[static_cast<size_t>(date.month)] + (is_leap_february ? 1 : 0);
    if (date.day < in_month) break;
    date.day -= in_month;
    ++date.month;
  }
  ++date.day;
  return date;
}

struct Phrase {
  int status;
  std::string_view text;
};
// RFC 9110 section 15, RFC 6585, RFC 7725 and the rest of the IANA registry.
constexpr Phrase kPhrases[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {102, "Processing"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {208, "Already Reported"},
    {226, "IM Used"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {305, "Use Proxy"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {506, "Variant Also Negotiates"},
    {507, "Insufficient Storage"},
    {508, "Loop Detected"},
    {511, "Network Authentication Required"},
};

}  // namespace

void format_http_date(int64_t unix_s, char* out) {
  constexpr int64_t kLastSecond = 253402300799;  // of the year 9999
  if (unix_s < 0) unix_s = 0;
  if (unix_s > kLastSecond) unix_s = kLastSecond;
  const int64_t days = unix_s / 86400;
  const int64_t second = unix_s % 86400;
  const CivilDate date = civil_date(days);
  std::string_view("Thu, 00 Jan 0000 00:00:00 GMT").copy(out, 29);
  std::memcpy(out, &"ThuFriSatSunMonTueWed"[days % 7 * 3], 3);
  put_digits(out + 5, date.day, 2);
  std::memcpy(out + 8, &"JanFebMarAprMayJunJulAugSepOctNovDec"[date.month * 3], 3);
  put_digits(out + 12, date.year, 4);
  put_digits(out + 17, second / 3600, 2);
  put_digits(out + 20, second / 60 % 60, 2);
  put_digits(out + 23, second % 60, 2);
}

std::string_view reason_phrase(int status) {
  for (const Phrase& phrase : kPhrases) {
    if (phrase.status == status) return phrase.text;
  }
  return "Unknown";
}

}  // namespace hrmr::wire
