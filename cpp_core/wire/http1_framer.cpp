#include "wire/http1_framer.h"

#include <string_view>
#include <utility>

#include "base/text.h"

namespace hrmr::wire {
namespace {

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// RFC 9112 section 3.2.2: a URL as target is routed by its path, and its authority takes the place
// of Host, whatever that says.
void split_target(Request& request, HeaderTable& headers) {
  std::string_view rest = request.target;
  if (rest[0] != '/' && rest[0] != '*') {
    const size_t slashes = rest.find("//");
    const std::string_view root = rest.substr(slashes + 1, 1);
    rest.remove_prefix(slashes + 2);
    const std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
    rest.remove_prefix(authority.size());
    for (size_t i = 0; i < headers.count; ++i) {
      const std::string_view name = headers.items[i].name;
      if (equals_ignoring_case(name, "host")) headers.items[i].value = authority;
    }
    if (rest.empty() || rest[0] == '?') request.path = root;
  }
  const size_t mark = rest.find('?');
  if (request.path.empty()) request.path = rest.substr(0, mark);
  if (mark != std::string_view::npos) request.query = rest.substr(mark + 1);
}

}  // namespace

Verdict HttpFramer::read_head(std::string_view input, bool at_end, HeaderTable& headers) {
  // RFC 9112 section 2.2: empty lines in front of a request are skipped. Strictly CR LF here.
  while (input.substr(head_start_, 2) == "\r\n") head_start_ += 2;
  const std::string_view head = input.substr(head_start_);
  if (head.empty() || head == "\r") return Verdict::kIncomplete;
  const Verdict verdict = head_.advance(head, at_end, headers);
  return verdict == Verdict::kGood ? begin_body() : verdict;
}

Verdict HttpFramer::begin_body() {
  if (head_.facts().content_length > body_bytes_max_) return Verdict::kBodyTooLarge;
  if (head_.facts().is_chunked) chunks_.begin(head_end(), body_bytes_max_);
  has_head_ = true;
  return Verdict::kGood;
}

Verdict HttpFramer::read_body(char* input, size_t size, bool at_end) {
  if (head_.facts().is_chunked) return chunks_.advance(input, size, at_end);
  const bool is_there = head_.facts().content_length <= size - head_end();
  return is_there ? Verdict::kGood : Verdict::kIncomplete;
}

Frame HttpFramer::unfinished() {
  Frame frame;
  if (!has_head_) {
    // Nothing but empty lines so far: let them go, so that a stream of them does not pile up.
    if (head_.is_untouched()) frame.consumed = std::exchange(head_start_, 0);
    return frame;
  }
  const HeadFacts& facts = head_.facts();
  if (facts.expects_continue && facts.http_minor != 0 && !is_continue_sent_) {
    is_continue_sent_ = true;
    frame.kind = FrameKind::kInterim;
    frame.reply = kContinue;
  }
  return frame;
}

Frame HttpFramer::complete(const char* input, Request& request, HeaderTable& headers) {
  const HeadFacts& facts = head_.facts();
  const size_t body_start = head_end();
  const size_t body_end =
      facts.is_chunked ? chunks_.decoded_end() : body_start + facts.content_length;
  const char* head = input + head_start_;
  request.framing = Framing::kHttp;
  request.bytes = {head, body_end - head_start_};
  request.method = {head, facts.method_bytes};
  request.target = {head + facts.method_bytes + 1, facts.target_bytes};
  request.path = request.query = {};
  split_target(request, headers);
  request.body = {input + body_start, body_end - body_start};
  request.http_minor = facts.http_minor;
  request.head_only = request.method == "HEAD";
  // RFC 9112 section 9.3: close wins; else 1.1 stays open and 1.0 only when it asks for that.
  request.keep_alive = !facts.says_close && (facts.http_minor != 0 || facts.says_keep_alive);

  Frame frame;
  frame.kind = FrameKind::kRequest;
  frame.consumed = facts.is_chunked ? chunks_.consumed() : body_end;
  head_.reset();
  head_start_ = 0;
  has_head_ = false;
  is_continue_sent_ = false;
  return frame;
}

Frame HttpFramer::next(char* input, size_t size, bool at_end, Request& request,
                       HeaderTable& headers) {
  bool has_views = false;  // `headers` shows the head where it lies now
  if (!has_head_) {
    has_views = head_.is_untouched();
    const Verdict verdict = read_head({input, size}, at_end, headers);
    if (is_refusal(verdict)) return refused(verdict);
    if (verdict == Verdict::kIncomplete) return unfinished();
  }
  const Verdict verdict = read_body(input, size, at_end);
  if (is_refusal(verdict)) return refused(verdict);
  if (verdict == Verdict::kIncomplete) return unfinished();
  if (!has_views) {
    head_.restore_headers({input + head_start_, head_.head_bytes()}, headers);
  }
  return complete(input, request, headers);
}

}  // namespace hrmr::wire
