// The framing of plain lines, and which protocol a first line begins. The input is what a peer
// sends; behind its last byte it half-closes.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "framer_feed.h"
#include "wire/first_line.h"

namespace {

using namespace hrmr;
using namespace hrmr::fuzz;
using wire::Opening;

struct Lines {
  std::vector<std::string> requests;
  bool is_refused = false;
};

// What LineFramer promises, said the slow way.
Lines lines_of(std::string_view input, size_t line_bytes_max) {
  Lines lines;
  while (!input.empty()) {
    const size_t feed = input.find('\n');
    const bool has_end = feed != std::string_view::npos;
    const size_t bytes = has_end ? feed + 1 : input.size();
    // A line whose bound is used up without a '\n' is too long, whatever follows.
    if (bytes > line_bytes_max || (!has_end && bytes == line_bytes_max)) {
      lines.is_refused = true;
      return lines;
    }
    std::string_view line = input.substr(0, has_end ? feed : bytes);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!line.empty()) lines.requests.emplace_back(line);
    input.remove_prefix(bytes);
  }
  return lines;
}

void check_lines(std::string_view input, size_t line_bytes_max) {
  wire::FrameLimits limits;
  limits.line_bytes_max = line_bytes_max;
  const Outcome outcome = feed_every_way(wire::Framing::kLine, limits, input);
  const Lines expected = lines_of(input, line_bytes_max);
  HRMR_CHECK_EQ(outcome.requests.size(), expected.requests.size());
  HRMR_CHECK(outcome.is_refused == expected.is_refused);
  for (size_t i = 0; i < expected.requests.size(); ++i) {
    const Seen& seen = outcome.requests[i];
    HRMR_CHECK(seen.bytes == expected.requests[i]);
    HRMR_CHECK(seen.bytes.find('\n') == std::string::npos);
    HRMR_CHECK(seen.method.empty() && seen.target.empty() && seen.body.empty());
    HRMR_CHECK(seen.headers.empty());
  }
}

// What is decided on fewer bytes is not decided otherwise on more.
void check_opening(std::string_view input, size_t line_bytes_max) {
  input.remove_prefix(wire::leading_empty_lines(input));
  Opening decided = Opening::kNeedMore;
  const size_t step = input.size() < 256 ? 1 : input.size() / 64;
  for (size_t size = 0; size <= input.size(); size += step) {
    const std::string exact(input.substr(0, size));
    const Opening opening = wire::classify_opening(exact, false, line_bytes_max);
    if (decided != Opening::kNeedMore) HRMR_CHECK(opening == decided);
    decided = opening;
  }
  const Opening at_end = wire::classify_opening(input, true, line_bytes_max);
  HRMR_CHECK((at_end == Opening::kNeedMore) == input.empty());
  if (decided != Opening::kNeedMore && step == 1) HRMR_CHECK(at_end == decided);
  const std::string_view line = wire::first_line(input);
  HRMR_CHECK(line.size() <= input.size() && line.find('\n') == std::string_view::npos);
  // A browser's request is never taken for a line of text. Of one that is longer than the bound the
  // version is not looked at, so that a line route may claim it; it is then refused as too long.
  const bool is_http = line.size() > 9 && line.substr(line.size() - 9) == " HTTP/1.1";
  const bool is_within = input.substr(0, line_bytes_max).find('\n') != std::string_view::npos ||
                         input.size() < line_bytes_max;
  if (is_http) HRMR_CHECK(at_end != Opening::kLine);
  if (is_http && is_within) HRMR_CHECK(at_end != Opening::kHttpLike);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  for (const size_t line_bytes_max : {size_t{8}, size_t{40}, limits::kLineBytesMax}) {
    check_lines(input, line_bytes_max);
    check_opening(input, line_bytes_max);
  }
  const Outcome raw = feed(wire::Framing::kRaw, wire::FrameLimits(), input, Cut{16, true}, true);
  std::string together;
  for (const Seen& seen : raw.requests) together += seen.bytes;
  HRMR_CHECK(together == input);
  return 0;
}
