#include "wire/http1_head.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/text.h"
#include "wire/char_class.h"

namespace hrmr::wire {
namespace {

// [line, end) may stop anywhere; a verdict is reached at the first byte that decides it.
Verdict check_line_end(const char* at, const char* end, const char*& next) {
  if (at == end) return Verdict::kIncomplete;
  if (*at == '\n') return Verdict::kBareLf;
  if (at + 1 == end) return Verdict::kIncomplete;
  if (at[1] != '\n') return Verdict::kBareCr;
  next = at + 2;
  return Verdict::kGood;
}

// uri-host [ ":" port ], RFC 9110 section 7.2; empty where the target has no authority.
bool is_host(std::string_view host) {
  size_t at = 0;
  if (!host.empty() && host[0] == '[') {
    const size_t close = host.find(']');
    if (close == std::string_view::npos || close == 1) return false;
    for (at = 1; at < close; ++at) {
      if (!is_host_char(host[at]) && host[at] != ':') return false;
    }
    ++at;
  } else {
    while (at < host.size() && is_host_char(host[at])) ++at;
  }
  if (at == host.size()) return true;
  if (host[at] != ':') return false;
  return std::all_of(host.begin() + at + 1, host.end(), is_digit);
}

// RFC 9112 section 3.2.
Verdict check_target_form(std::string_view method, std::string_view target) {
  if (method == "CONNECT") return Verdict::kConnect;
  if (target.find('#') != std::string_view::npos) return Verdict::kFragment;
  if (target[0] == '/') return Verdict::kGood;
  if (target == "*") return method == "OPTIONS" ? Verdict::kGood : Verdict::kTargetForm;
  const size_t scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return Verdict::kTargetForm;
  const std::string_view scheme = target.substr(0, scheme_end);
  if (!equals_ignoring_case(scheme, "http") && !equals_ignoring_case(scheme, "https")) {
    return Verdict::kTargetForm;
  }
  const std::string_view rest = target.substr(scheme_end + 3);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  const bool has_host = !authority.empty() && authority[0] != ':';
  return has_host && is_host(authority) ? Verdict::kGood : Verdict::kTargetForm;
}

Verdict parse_version(const char* at, const char* end, HeadFacts& facts, const char*& next) {
  constexpr std::string_view kUsual = "HTTP/1.1\r\n";
  if (std::string_view(at, static_cast<size_t>(end - at)).substr(0, kUsual.size()) == kUsual) {
    facts.http_minor = 1;
    next = at + kUsual.size();
    return Verdict::kGood;
  }
  constexpr std::string_view kPattern = "HTTP/d.d";
  for (size_t i = 0; i < kPattern.size(); ++i) {
    if (at + i == end) return Verdict::kIncomplete;
    const bool fits = kPattern[i] == 'd' ? is_digit(at[i]) : at[i] == kPattern[i];
    if (!fits) return Verdict::kBadVersion;
  }
  const char* line_end = at + kPattern.size();
  if (line_end != end && *line_end != '\r' && *line_end != '\n') return Verdict::kBadVersion;
  if (at[5] != '1') return Verdict::kVersionUnsupported;
  // RFC 9110 section 2.5: a higher minor version is taken as the highest that we speak.
  facts.http_minor = at[7] == '0' ? 0 : 1;
  return check_line_end(line_end, end, next);
}

Verdict parse_request_line(const char* line, const char* end, size_t target_bytes_max,
                           HeadFacts& facts, const char*& next) {
  const char* at = skip_token(line, end);
  const std::string_view method(line, static_cast<size_t>(at - line));
  if (method.size() > limits::kHttpMethodBytesMax) return Verdict::kMethodTooLong;
  if (at == end) return Verdict::kIncomplete;
  if (*at != ' ' || method.empty()) return Verdict::kBadMethod;
  const char* target_start = ++at;
  at = find_invisible(at, end);
  const std::string_view target(target_start, static_cast<size_t>(at - target_start));
  if (target.size() > target_bytes_max) return Verdict::kTargetTooLong;
  if (at == end) return Verdict::kIncomplete;
  if (*at == '\r' || *at == '\n') return Verdict::kNoVersion;
  if (*at != ' ' || target.empty()) return Verdict::kBadTarget;
  const Verdict form = check_target_form(method, target);
  if (form != Verdict::kGood) return form;
  facts.method_bytes = static_cast<uint32_t>(method.size());
  facts.target_bytes = static_cast<uint32_t>(target.size());
  return parse_version(at + 1, end, facts, next);
}

Verdict bad_name(const char* line, const char* at) {
  if (at == line && is_blank(*at)) return Verdict::kFolded;
  if (at == line) return Verdict::kBadName;
  if (is_blank(*at)) return Verdict::kBlankBeforeColon;
  return *at == '\r' || *at == '\n' ? Verdict::kNoColon : Verdict::kBadName;
}

Verdict parse_length(std::string_view value, uint64_t& length) {
  if (value.empty()) return Verdict::kBadLength;
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  length = 0;
  for (const char c : value) {
    if (!is_digit(c)) return Verdict::kBadLength;
    const auto digit = static_cast<uint64_t>(c - '0');
    // What does not fit stays at the top, so that it is refused as too large and never wraps.
    length = length > (kMax - digit) / 10 ? kMax : length * 10 + digit;
  }
  return Verdict::kGood;
}

void note_connection(std::string_view value, HeadFacts& facts) {
  while (!value.empty()) {
    const size_t comma = std::min(value.find(','), value.size());
    const std::string_view option = trim_blanks(value.substr(0, comma));
    if (equals_ignoring_case(option, "close")) facts.says_close = true;
    if (equals_ignoring_case(option, "keep-alive")) facts.says_keep_alive = true;
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
}

}  // namespace

Verdict parse_header_line(const char* line, const char* end, Header& header, const char*& next) {
  if (line == end) return Verdict::kIncomplete;
  if (*line == '\r' || *line == '\n') {
    header.name = {};
    return check_line_end(line, end, next);
  }
  const char* at = skip_token(line, end);
  if (at == end) return Verdict::kIncomplete;
  if (*at != ':' || at == line) return bad_name(line, at);
  header.name = std::string_view(line, static_cast<size_t>(at - line));
  ++at;
  while (at != end && is_blank(*at)) ++at;
  const char* value = at;
  at = find_control(at, end);
  if (at != end && *at != '\r' && *at != '\n') return Verdict::kControlInValue;
  const char* value_end = at;
  while (value_end != value && is_blank(value_end[-1])) --value_end;
  header.value = std::string_view(value, static_cast<size_t>(value_end - value));
  return check_line_end(at, end, next);
}

Verdict HeadParser::note(const Header& header) {
  switch (header.name.size) {
    case 4:
      if (!equals_ignoring_case(header.name, "host")) break;
      if (facts_.has_host) return Verdict::kHostRepeated;
      facts_.has_host = true;
      if (!is_host(header.value)) return Verdict::kBadHost;
      break;
    case 6:
      if (!equals_ignoring_case(header.name, "expect")) break;
      if (equals_ignoring_case(header.value, "100-continue")) {
        facts_.expects_continue = true;
      } else {
        facts_.expects_other = true;
      }
      break;
    case 10:
      if (equals_ignoring_case(header.name, "connection")) note_connection(header.value, facts_);
      break;
    case 14:
      if (!equals_ignoring_case(header.name, "content-length")) break;
      // Even equal ones: somebody in front of us may have counted differently.
      if (facts_.has_length) return Verdict::kLengthRepeated;
      facts_.has_length = true;
      return parse_length(header.value, facts_.content_length);
    case 17:
      if (!equals_ignoring_case(header.name, "transfer-encoding")) break;
      if (facts_.has_coding) return Verdict::kCodingRepeated;
      facts_.has_coding = true;
      facts_.is_chunked = equals_ignoring_case(header.value, "chunked");
      break;
    default:
      break;
  }
  return Verdict::kGood;
}

Verdict HeadParser::decide() const {
  if (facts_.http_minor != 0 && !facts_.has_host) return Verdict::kHostMissing;
  if (facts_.has_coding) {
    if (facts_.has_length) return Verdict::kLengthAndCoding;
    if (facts_.http_minor == 0) return Verdict::kCodingInHttp10;
    if (!facts_.is_chunked) return Verdict::kUnknownCoding;
  }
  // RFC 9110 section 10.1.1: expectations of HTTP/1.0 clients are ignored.
  if (facts_.expects_other && facts_.http_minor != 0) return Verdict::kUnknownExpectation;
  return Verdict::kGood;
}

Verdict HeadParser::read_line(const char* head, const char* end, HeaderTable* headers,
                              bool& is_last) {
  const char* line = head + line_;
  const char* next = line;
  if (line_ == 0) {
    const Verdict verdict = parse_request_line(line, end, target_bytes_max_, facts_, next);
    if (verdict == Verdict::kGood) line_ = static_cast<size_t>(next - head);
    return verdict;
  }
  Header header;
  Verdict verdict = parse_header_line(line, end, header, next);
  if (verdict != Verdict::kGood) return verdict;
  is_last = header.name.size == 0;
  if (is_last) {
    verdict = decide();
  } else {
    if (facts_.header_count == headers_max_) return Verdict::kTooManyHeaders;
    verdict = note(header);
  }
  if (verdict != Verdict::kGood) return verdict;
  line_ = static_cast<size_t>(next - head);
  if (is_last) return verdict;
  if (headers != nullptr) headers->items[facts_.header_count] = header;
  ++facts_.header_count;
  return verdict;
}

Verdict HeadParser::advance(std::string_view head, bool at_end, HeaderTable& headers) {
  const size_t size = std::min(head.size(), bytes_max_);
  const char* end = head.data() + size;
  // Past its bound, or behind the peer's last byte, an unfinished line is judged as it stands.
  const bool is_final = at_end || size == bytes_max_;
  const auto has_line_end = [&](size_t from) {
    return std::memchr(head.data() + from, '\n', size - from) != nullptr;
  };
  if (looked_ > line_ && !is_final && !has_line_end(looked_)) {
    looked_ = size;
    return Verdict::kIncomplete;
  }
  HeaderTable* table = line_ == 0 ? &headers : nullptr;
  bool is_last = false;
  while (!is_last) {
    const Verdict verdict = read_line(head.data(), end, table, is_last);
    if (verdict == Verdict::kGood) continue;
    if (verdict == Verdict::kIncomplete && size == bytes_max_) {
      return line_ == 0 ? Verdict::kTargetTooLong : Verdict::kHeadTooLarge;
    }
    if (verdict != Verdict::kIncomplete && (is_final || has_line_end(line_))) return verdict;
    looked_ = size;
    return Verdict::kIncomplete;
  }
  if (table != nullptr) table->count = facts_.header_count;
  return Verdict::kGood;
}

void HeadParser::restore_headers(std::string_view head, HeaderTable& headers) const {
  const char* end = head.data() + line_;
  const char* line = static_cast<const char*>(std::memchr(head.data(), '\n', line_)) + 1;
  for (headers.count = 0; headers.count < facts_.header_count; ++headers.count) {
    parse_header_line(line, end, headers.items[headers.count], line);
  }
}

}  // namespace hrmr::wire
