// The framing of HTTP/1. The input is what a peer sends; behind its last byte it half-closes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "framer_feed.h"
#include "wire/char_class.h"

namespace {

using namespace hrmr;
using namespace hrmr::fuzz;

bool is_named(const SeenHeader& header, std::string_view name) {
  return equals_ignoring_case(header.name, name);
}

size_t count_named(const Seen& seen, std::string_view name) {
  return static_cast<size_t>(
      std::count_if(seen.headers.begin(), seen.headers.end(),
                    [name](const SeenHeader& header) { return is_named(header, name); }));
}

const SeenHeader* find_named(const Seen& seen, std::string_view name) {
  for (const SeenHeader& header : seen.headers) {
    if (is_named(header, name)) return &header;
  }
  return nullptr;
}

bool is_visible(char c) { return c > 0x20 && c < 0x7f; }

bool is_absolute(const Seen& seen) { return seen.target[0] != '/' && seen.target[0] != '*'; }

// The authority of an absolute target, which stands for Host (RFC 9112 section 3.2.2).
std::string_view authority_of(const Seen& seen) {
  const std::string_view rest = std::string_view(seen.target).substr(seen.target.find("//") + 2);
  return rest.substr(0, rest.find_first_of("/?"));
}

void check_target(const Seen& seen) {
  HRMR_CHECK(!seen.path.empty() && seen.path.find('?') == std::string::npos);
  std::string target = seen.path;
  const size_t mark = seen.target.find('?');
  if (mark != std::string::npos) target += "?" + seen.query;
  if (!is_absolute(seen)) {
    HRMR_CHECK(target == seen.target);
    return;
  }
  const size_t authority_end = seen.target.find("//") + 2 + authority_of(seen).size();
  const bool has_path = seen.target.substr(authority_end, 1) == "/";
  HRMR_CHECK((has_path ? "" : "/") + seen.target.substr(authority_end) == target);
  if (const SeenHeader* host = find_named(seen, "host")) {
    HRMR_CHECK(host->value == authority_of(seen));
  }
}

// The head must be exactly what its parts say, with blanks only around the values: written down
// again from the parts, and nothing of it is lost.
void check_head(const Seen& seen) {
  const std::string_view head(seen.bytes.data(), seen.bytes.size() - seen.body.size());
  std::string_view rest = head;
  const auto take = [&rest](std::string_view text) {
    HRMR_CHECK(starts_with(rest, text));
    rest.remove_prefix(text.size());
  };
  const auto skip_blanks = [&rest] {
    while (!rest.empty() && wire::is_blank(rest.front())) rest.remove_prefix(1);
  };
  HRMR_CHECK(wire::is_token(seen.method) && !seen.target.empty());
  HRMR_CHECK(std::all_of(seen.target.begin(), seen.target.end(), is_visible));
  HRMR_CHECK(seen.target.find('#') == std::string::npos);
  take(seen.method + " " + seen.target + " HTTP/1.");
  HRMR_CHECK(!rest.empty() && wire::is_digit(rest.front()));
  HRMR_CHECK((rest.front() == '0') == (seen.http_minor == 0));
  rest.remove_prefix(1);
  take("\r\n");
  for (const SeenHeader& header : seen.headers) {
    HRMR_CHECK(wire::is_token(header.name));
    take(header.name + ":");
    skip_blanks();
    for (const char c : header.value) HRMR_CHECK(!wire::is_control(c));
    if (!header.value.empty()) HRMR_CHECK(!wire::is_blank(header.value.back()));
    if (is_absolute(seen) && is_named(header, "host")) {
      rest.remove_prefix(rest.find('\r'));  // not what it says
    } else {
      take(header.value);
      skip_blanks();
    }
    take("\r\n");
  }
  HRMR_CHECK(rest == "\r\n");
  HRMR_CHECK(std::string_view(seen.bytes).substr(head.size()) == seen.body);
}

// Nothing that another server on the way could have framed otherwise (RFC 9112 section 6).
void check_framing(const Seen& seen) {
  const size_t lengths = count_named(seen, "content-length");
  const size_t codings = count_named(seen, "transfer-encoding");
  HRMR_CHECK(lengths + codings <= 1);
  HRMR_CHECK(count_named(seen, "host") == 1 ||
             (seen.http_minor == 0 && count_named(seen, "host") == 0));
  if (const SeenHeader* length = find_named(seen, "content-length")) {
    HRMR_CHECK(std::all_of(length->value.begin(), length->value.end(), wire::is_digit));
    HRMR_CHECK_EQ(std::stoull(length->value), seen.body.size());
  }
  if (codings != 0) {
    HRMR_CHECK(equals_ignoring_case(find_named(seen, "transfer-encoding")->value, "chunked"));
    HRMR_CHECK(seen.http_minor != 0);
  }
  if (lengths + codings == 0) HRMR_CHECK(seen.body.empty());
  HRMR_CHECK(seen.head_only == (seen.method == "HEAD"));
}

std::string hex(size_t number) {
  std::string digits;
  for (; number != 0; number /= 16) digits.insert(digits.begin(), "0123456789abcdef"[number % 16]);
  return digits;
}

// The request as another client might send it: with a length, or cut into chunks.
std::string written_anew(const Seen& seen, bool in_chunks) {
  std::string text = seen.method + " " + seen.target + " HTTP/1." + std::to_string(seen.http_minor);
  text += "\r\n";
  bool has_length = false;
  for (const SeenHeader& header : seen.headers) {
    const bool is_length = is_named(header, "content-length");
    if (is_length || is_named(header, "transfer-encoding")) {
      has_length = true;
      text += in_chunks ? "TRANSFER-ENCODING:chunked \r\n"
                        : "Content-Length:\t" + std::to_string(seen.body.size()) + "\r\n";
    } else {
      text += header.name + ": " + header.value + "\r\n";
    }
  }
  text += "\r\n";
  if (!has_length || !in_chunks) return text + seen.body;
  Dice dice(seen.bytes);
  std::string_view rest = seen.body;
  while (!rest.empty()) {
    const std::string_view chunk = rest.substr(0, 1 + dice.roll(rest.size()));
    text.append(hex(chunk.size())).append(dice.roll(2) == 0 ? " ;x=\"y\"\r\n" : "\r\n");
    text.append(chunk).append("\r\n");
    rest.remove_prefix(chunk.size());
  }
  return text + "000\r\nTrailer: dropped\r\n\r\n";
}

// Written down anew, a request that was accepted is the same request.
void check_written_anew(const Seen& seen) {
  for (const bool in_chunks : {false, true}) {
    if (in_chunks && (seen.http_minor == 0 || seen.body.size() > 4096)) continue;
    const std::string text = written_anew(seen, in_chunks);
    wire::FrameLimits limits;
    limits.head_bytes_max *= 2;  // blanks were added
    const Outcome again = feed(wire::Framing::kHttp, limits, text, Cut{64, true}, true);
    HRMR_CHECK_EQ(again.requests.size(), 1);
    HRMR_CHECK(!again.is_refused && again.left.empty());
    const Seen& other = again.requests[0];
    HRMR_CHECK(other.method == seen.method && other.target == seen.target);
    HRMR_CHECK(other.body == seen.body && other.headers.size() == seen.headers.size());
    HRMR_CHECK(other.keep_alive == seen.keep_alive && other.http_minor == seen.http_minor);
  }
}

// A refusal is one whole answer that ends the connection.
void check_refusal(const std::string& reply) {
  const size_t head_bytes = reply.find("\r\n\r\n") + 4;
  HRMR_CHECK(head_bytes > 4 && starts_with(reply, "HTTP/1.1 "));
  const int status = std::stoi(reply.substr(9, 3));
  HRMR_CHECK(status >= 400 && status <= 599);
  HRMR_CHECK(reply.find("\r\nConnection: close\r\n") < head_bytes);
  const size_t length_at = reply.find("\r\nContent-Length: ");
  HRMR_CHECK(length_at < head_bytes);
  HRMR_CHECK_EQ(std::stoul(reply.substr(length_at + 18)), reply.size() - head_bytes);
}

void check(std::string_view input, const wire::FrameLimits& limits) {
  const Outcome outcome = feed_every_way(wire::Framing::kHttp, limits, input);
  for (const Seen& seen : outcome.requests) {
    check_head(seen);
    check_target(seen);
    check_framing(seen);
    HRMR_CHECK(seen.bytes.size() - seen.body.size() <= limits.head_bytes_max);
    HRMR_CHECK(seen.body.size() <= limits.body_bytes_max);
    check_written_anew(seen);
  }
  if (outcome.is_refused) check_refusal(outcome.reply);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  check(input, wire::FrameLimits());
  wire::FrameLimits tight;
  tight.head_bytes_max = 64;
  tight.body_bytes_max = 8;
  check(input, tight);
  return 0;
}
