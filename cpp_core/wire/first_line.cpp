#include "wire/first_line.h"

#include <algorithm>
#include <cstring>

#include "wire/char_class.h"

namespace hrmr::wire {
namespace {

// RFC 8446 section 5.1: the content type of a TLS connection's first record.
constexpr char kTlsHandshake = 0x16;

bool is_rubbish(std::string_view line) {
  const char* end = line.data() + line.size();
  const char* at = line.data();
  while ((at = find_control(at, end)) != end) {
    if (*at != '\r' && *at != '\n') return true;
    ++at;
  }
  return false;
}

bool ends_in_version(std::string_view line) {
  constexpr std::string_view kPattern = " HTTP/d.d";
  if (line.size() < kPattern.size()) return false;
  line.remove_prefix(line.size() - kPattern.size());
  for (size_t i = 0; i < kPattern.size(); ++i) {
    const bool fits = kPattern[i] == 'd' ? is_digit(line[i]) : line[i] == kPattern[i];
    if (!fits) return false;
  }
  return true;
}

bool is_token_and_path(std::string_view line) {
  const size_t space = line.find(' ');
  return space != std::string_view::npos && is_token(line.substr(0, space)) &&
         line.substr(space + 1, 1) == "/";
}

}  // namespace

bool may_be_http(std::string_view input) {
  const std::string_view line = first_line(input);
  return is_token_and_path(line) || ends_in_version(line);
}

size_t leading_empty_lines(std::string_view input) {
  size_t at = 0;
  while (at < input.size()) {
    if (input[at] == '\n') {
      at += 1;
    } else if (input.substr(at, 2) == "\r\n") {
      at += 2;
    } else {
      break;
    }
  }
  return at;
}

std::string_view first_line(std::string_view input) {
  std::string_view line = input.substr(0, input.find('\n'));
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

Opening classify_opening(std::string_view input, bool at_end, size_t line_bytes_max) {
  if (input.empty()) return Opening::kNeedMore;
  // The line end counts, as in LineFramer.
  const std::string_view bounded = input.substr(0, line_bytes_max);
  const size_t line_end = bounded.find('\n');
  const bool has_end = line_end != std::string_view::npos;
  if (input.front() == kTlsHandshake) return Opening::kForeign;
  if (is_rubbish(bounded.substr(0, line_end))) return Opening::kBinary;
  if (!has_end && bounded.size() == line_bytes_max) {
    // A request line has bounds of its own, and a refusal that its client understands.
    return is_token_and_path(bounded) ? Opening::kHttpLike : Opening::kTooLong;
  }
  if (!has_end && !at_end) return Opening::kNeedMore;
  const std::string_view line = first_line(bounded);
  if (line == "PRI * HTTP/2.0") return Opening::kForeign;
  if (ends_in_version(line)) return Opening::kHttp;
  return is_token_and_path(line) ? Opening::kHttpLike : Opening::kLine;
}

}  // namespace hrmr::wire
