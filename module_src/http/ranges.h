// Ranges: the byte ranges of a request (RFC 9110 section 14). Pure; no allocation.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace http {

// More in one request are an attack or a mistake: the whole is sent (sections 14.2 and 17.15).
constexpr size_t kRangesMax = 32;
// Ranges with less between them are sent as one: the head of another part is no shorter.
constexpr uint64_t kGapBytes = 128;

struct ByteRange {
  uint64_t first = 0;
  uint64_t last = 0;  // inclusive
  uint64_t size() const { return last - first + 1; }
};

enum class RangeKind {
  kWhole,          // no range, or none that is to be honoured
  kParts,          // 1 to kRangesMax of them
  kUnsatisfiable,  // 416
};

struct Ranges {
  RangeKind kind = RangeKind::kWhole;
  size_t count = 0;
  std::array<ByteRange, kRangesMax> parts{};

  const ByteRange* begin() const { return parts.data(); }
  const ByteRange* end() const { return parts.data() + count; }
};

namespace detail {

// Digits off the front; a number that no size_t holds becomes the largest. False, and `number` is
// left as it is: there are none.
inline bool take_number(std::string_view& text, uint64_t& number) {
  size_t digits = 0;
  uint64_t value = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    const auto digit = static_cast<uint64_t>(text[digits] - '0');
    value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
  }
  if (digits == 0) return false;
  text.remove_prefix(digits);
  number = value;
  return true;
}

enum class SpecKind {
  kInvalid,
  kUnsatisfiable,
  kPart,
  kOfNothing,  // the last bytes of an empty file: satisfiable, but no Content-Range can name them
};

// One range-spec (section 14.1.1) off the front, for a representation of `size` bytes.
inline SpecKind take_spec(std::string_view& text, uint64_t size, ByteRange& part) {
  uint64_t first = 0;
  uint64_t last = UINT64_MAX;
  if (!text.empty() && text.front() == '-') {
    text.remove_prefix(1);
    uint64_t suffix = 0;
    if (!take_number(text, suffix)) return SpecKind::kInvalid;
    if (suffix == 0) return SpecKind::kUnsatisfiable;
    if (size == 0) return SpecKind::kOfNothing;
    part = {suffix < size ? size - suffix : 0, size - 1};
    return SpecKind::kPart;
  }
  if (!take_number(text, first)) return SpecKind::kInvalid;
  if (text.empty() || text.front() != '-') return SpecKind::kInvalid;
  text.remove_prefix(1);
  if (take_number(text, last) && last < first) return SpecKind::kInvalid;
  if (first >= size) return SpecKind::kUnsatisfiable;
  part = {first, last < size ? last : size - 1};
  return SpecKind::kPart;
}

// Parts that overlap or nearly touch become one. Their order stays the client's as long as none
// overlaps another; otherwise it becomes that of the bytes (section 15.3.7.2 allows both).
inline void coalesce(Ranges& ranges) {
  ByteRange* begin = ranges.parts.data();
  ByteRange* end = begin + ranges.count;
  const auto meets = [](const ByteRange& left, const ByteRange& right) {
    return left.first <= right.first && right.first - left.first <= left.size() + kGapBytes;
  };
  bool is_scattered = true;
  for (const ByteRange* one = begin; one != end; ++one) {
    for (const ByteRange* other = begin; other != end; ++other)
      is_scattered = is_scattered && (one == other || !meets(*one, *other));
  }
  if (is_scattered) return;
  for (ByteRange* next = begin + 1; next != end; ++next) {  // 32 at most: insertion will do
    for (ByteRange* at = next; at != begin && at->first < at[-1].first; --at)
      std::swap(*at, at[-1]);
  }
  ByteRange* kept = begin;
  for (const ByteRange* next = begin + 1; next != end; ++next) {
    if (meets(*kept, *next)) {
      if (next->last > kept->last) kept->last = next->last;
    } else {
      *++kept = *next;
    }
  }
  ranges.count = static_cast<size_t>(kept - begin) + 1;
}

inline bool is_bytes_unit(std::string_view unit) {
  constexpr std::string_view kUnit = "bytes";
  if (unit.size() != kUnit.size()) return false;
  for (size_t i = 0; i < unit.size(); ++i) {
    if ((unit[i] | 0x20) != kUnit[i]) return false;
  }
  return true;
}

}  // namespace detail

// What a Range field asks of a representation of `size` bytes (up to INT64_MAX). Another unit, and
// anything that is not to the letter of the grammar, means the whole, as if the field were not
// there.
inline Ranges parse_ranges(std::string_view field, uint64_t size) {
  Ranges ranges;
  const Ranges whole;
  const size_t equals = field.find('=');
  if (equals == std::string_view::npos || !detail::is_bytes_unit(field.substr(0, equals)))
    return whole;
  std::string_view rest = field.substr(equals + 1);
  const auto skip = [&rest](std::string_view chars) {
    while (!rest.empty() && chars.find(rest.front()) != std::string_view::npos)
      rest.remove_prefix(1);
  };
  size_t specs = 0;
  bool is_of_nothing = false;
  for (skip(" \t,"); !rest.empty(); skip(" \t,")) {
    ByteRange part;
    const detail::SpecKind kind = detail::take_spec(rest, size, part);
    if (kind == detail::SpecKind::kInvalid || ++specs > kRangesMax) return whole;
    is_of_nothing = is_of_nothing || kind == detail::SpecKind::kOfNothing;
    if (kind == detail::SpecKind::kPart) ranges.parts[ranges.count++] = part;
    skip(" \t");
    if (!rest.empty() && rest.front() != ',') return whole;
  }
  if (specs == 0 || is_of_nothing) return whole;
  ranges.kind = ranges.count == 0 ? RangeKind::kUnsatisfiable : RangeKind::kParts;
  if (ranges.count > 1) detail::coalesce(ranges);
  return ranges;
}

// "bytes 0-499/1234" and "bytes */1234" (section 14.4), and other short texts made of numbers.
class ContentRangeText {
 public:
  ContentRangeText(const ByteRange& part, uint64_t size) {
    put("bytes ");
    put(part.first);
    put("-");
    put(part.last);
    put("/");
    put(size);
  }
  explicit ContentRangeText(uint64_t size) {
    put("bytes */");
    put(size);
  }
  std::string_view view() const { return {text_, size_}; }

 private:
  void put(std::string_view part) {
    for (const char c : part) text_[size_++] = c;
  }
  void put(uint64_t number) {
    size_t digits = 1;
    for (uint64_t left = number; left >= 10; left /= 10) ++digits;
    for (size_t i = digits; i > 0; --i, number /= 10)
      text_[size_ + i - 1] = static_cast<char>('0' + number % 10);
    size_ += digits;
  }

  size_t size_ = 0;
  char text_[6 + 3 * 20 + 2];
};

}  // namespace http
