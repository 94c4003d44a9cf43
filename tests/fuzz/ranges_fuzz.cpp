// Byte ranges (module_src/http/ranges.h). The input is the size of a file, in decimal digits up to
// the first space, then a Range field.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http/ranges.h"

namespace {

using http::ByteRange;
using http::RangeKind;
using http::Ranges;

void check_parts(const Ranges& ranges, uint64_t size) {
  HRMR_CHECK(ranges.count >= 1 && ranges.count <= http::kRangesMax);
  uint64_t total = 0;
  for (const ByteRange& part : ranges) {
    HRMR_CHECK(part.first <= part.last && part.last < size);
    HRMR_CHECK(part.size() <= size - total);  // never more in all than the file has
    total += part.size();
  }
  for (const ByteRange& one : ranges) {
    for (const ByteRange& other : ranges)
      HRMR_CHECK(&one == &other || one.last < other.first || other.last < one.first);
  }
}

bool is_sent(const Ranges& ranges, uint64_t byte) {
  return std::any_of(ranges.begin(), ranges.end(), [byte](const ByteRange& part) {
    return byte >= part.first && byte <= part.last;
  });
}

// Both ends of each plain "first-last" that the file has are sent.
void check_asked(std::string_view field, const Ranges& ranges, uint64_t size) {
  while (!field.empty()) {
    const std::string_view spec = field.substr(0, field.find(','));
    field.remove_prefix(std::min(field.size(), spec.size() + 1));
    const std::string_view first = spec.substr(0, spec.find('-'));
    const std::string_view last = spec.substr(std::min(spec.size(), first.size() + 1));
    const auto is_number = [](std::string_view text) {
      return !text.empty() && text.size() < 10 &&
             text.find_first_not_of("0123456789") == std::string_view::npos;
    };
    if (!is_number(first) || !is_number(last) || std::stoull(std::string(first)) >= size) continue;
    HRMR_CHECK(is_sent(ranges, std::stoull(std::string(first))));
    HRMR_CHECK(is_sent(ranges, std::min<uint64_t>(std::stoull(std::string(last)), size - 1)));
  }
}

std::string written(const Ranges& ranges) {
  std::string field = "bytes=";
  for (const ByteRange& part : ranges)
    field += std::to_string(part.first) + "-" + std::to_string(part.last) + ",";
  return field;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  std::string_view field(reinterpret_cast<const char*>(bytes), count);
  uint64_t size = 0;
  while (!field.empty() && field.front() >= '0' && field.front() <= '9') {
    size = size * 10 + static_cast<uint64_t>(field.front() - '0');
    field.remove_prefix(1);
  }
  if (!field.empty()) field.remove_prefix(1);
  size &= INT64_MAX;  // as off_t has it

  const Ranges ranges = http::parse_ranges(field, size);
  if (ranges.kind != RangeKind::kParts) {
    HRMR_CHECK(ranges.count == 0);
    return 0;
  }
  check_parts(ranges, size);
  check_asked(field.substr(field.find('=') + 1), ranges, size);
  // What is answered, asked for again, is the same answer.
  const Ranges again = http::parse_ranges(written(ranges), size);
  HRMR_CHECK(again.kind == RangeKind::kParts);
  HRMR_CHECK(written(again) == written(ranges));
  return 0;
}
