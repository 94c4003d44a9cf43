#include "verdict.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <string>
#include <utility>

#include "../framer_feed.h"
#include "base/check.h"
#include "base/text.h"
#include "server/built_in.h"
#include "wire/arguments.h"
#include "wire/first_line.h"
#include "wire/http1_verdict.h"
#include "wire/http_texts.h"
#include "wire/line_framer.h"

namespace hrmr::fuzz {
namespace {

using modules::RouteFraming;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// A refusal as it is sent.
std::string dated(std::string_view reply) {
  char date[29];
  wire::format_http_date(kWallS, date);
  ByteBuffer out;
  wire::append_dated(out, reply, {date, sizeof date});
  return std::string(out.view());
}

// Reads what the peer took, reply by reply.
class Replies {
 public:
  Replies(std::string_view taken, const Disturbances& disturbances, bool may_end_early)
      : rest_(taken), disturbances_(disturbances), may_end_early_(may_end_early) {}

  // The connection ended here, and was allowed to.
  bool has_ended() const { return has_ended_; }
  bool is_empty() const { return rest_.empty(); }
  const Disturbances& disturbances() const { return disturbances_; }
  bool may_end_early() const { return may_end_early_; }
  // What follows is not judged.
  void give_up() {
    has_ended_ = has_given_up_ = true;
    rest_ = {};
  }
  bool has_given_up() const { return has_given_up_; }

  bool skip(std::string_view text) {
    if (!starts_with(rest_, text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  // Up to and with `mark`. Empty: it is cut off, which must have been allowed.
  std::string_view take_rest() { return std::exchange(rest_, {}); }
  std::string_view take_to(std::string_view mark) {
    const size_t at = rest_.find(mark);
    if (at == std::string_view::npos) return cut_off();
    return take(at + mark.size());
  }
  std::string_view take(size_t bytes) {
    if (bytes > rest_.size()) return cut_off();
    const std::string_view text = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return text;
  }
  // The answer to who was too slow, which ends the connection; or its beginning, if it may end
  // early.
  bool skip_timeout() {
    if (disturbances_.passed_ms < kTimeoutMs) return false;
    for (const std::string& text : {dated(wire::refused(wire::Verdict::kHeadTimeout).reply),
                                    dated(wire::refused(wire::Verdict::kBodyTimeout).reply),
                                    std::string(wire::kLineTimeoutReply)}) {
      if (skip(text)) return true;
      if (may_end_early_ && !rest_.empty() && starts_with(text, rest_)) return skip(rest_);
    }
    return false;
  }
  // Exactly that, or, if it may end early, less.
  void take_all(std::string_view text) {
    if (skip(text)) return;
    HRMR_CHECK(starts_with(text, rest_));
    static_cast<void>(cut_off());
  }

 private:
  std::string_view cut_off() {
    HRMR_CHECK(may_end_early_);
    has_ended_ = true;
    rest_ = {};
    return {};
  }

  std::string_view rest_;
  const Disturbances& disturbances_;
  bool may_end_early_;
  bool has_ended_ = false;
  bool has_given_up_ = false;
};

bool fails(const Part& part) { return part.act == Act::kFail || part.act == Act::kStreamFail; }

// ---- lines

bool is_word(std::string_view line, std::string_view word) {
  return equals_ignoring_case(line, word);
}

bool begins_with_word(std::string_view line, std::string_view word) {
  return is_word(line.substr(0, line.find(' ')), word);
}

void check_reload(std::string_view reply, bool is_local) {
  if (starts_with(reply, "ERR RELOAD takes at most")) return;
  if (is_local) {
    HRMR_CHECK(reply == kReloadAnswer);
  } else {
    HRMR_CHECK(starts_with(reply, "ERR RELOAD is taken from this machine only"));
  }
}

// What a handler may be replaced by, if the script has given a reason.
void check_substitute(std::string_view reply, const Part* part, const Disturbances& disturbances) {
  if (starts_with(reply, "ERR no route for '")) {
    HRMR_CHECK(part == nullptr || disturbances.has_removed);
  } else if (starts_with(reply, "503 ")) {
    HRMR_CHECK(disturbances.has_refused);
  } else if (starts_with(reply, "ERR module 'spec' dropped the request")) {
    HRMR_CHECK(disturbances.has_dropped && part != nullptr && part->act == Act::kDefer);
  } else {
    HRMR_CHECK(reply == "ERR module 'spec' failed\n");
    HRMR_CHECK(part != nullptr && fails(*part));
  }
}

// Arrays, and the commands that Redis' clients send: their answers are other tests' business.
bool is_of_redis(std::string_view line) {
  if (line.front() == '*') return true;
  for (const std::string_view word : {"CLOSE", "SHUTDOWN"}) {
    if (is_word(line, word)) return false;
  }
  for (const std::string_view word : {"RELOAD", "AUTH"}) {
    if (begins_with_word(line, word)) return false;
  }
  char buffer[64];
  return server::find_built_in(wire::first_word(line, buffer)) != nullptr;
}

// True: the connection ends behind it.
bool check_line(std::string_view line, Replies& replies, bool is_local) {
  const Part* part = part_of(RouteFraming::kLine, line);
  if (part == nullptr && is_of_redis(line)) {
    replies.give_up();
    return true;
  }
  if (is_word(line, "CLOSE")) return true;
  if (replies.skip_timeout()) return true;
  const std::string_view reply = replies.take_to("\n");
  if (replies.has_ended()) return true;
  if (begins_with_word(line, "RELOAD")) {
    check_reload(reply, is_local);
    return false;
  }
  if (begins_with_word(line, "AUTH")) {
    HRMR_CHECK(starts_with(reply, "ERR there is no admin token"));
    return false;
  }
  if (is_word(line, "SHUTDOWN")) {
    HRMR_CHECK(starts_with(reply, is_local ? "OK shutting down\n" : "ERR SHUTDOWN is taken"));
    return is_local;
  }
  if (reply == wire::kUnbalancedReply) {
    HRMR_CHECK(!wire::is_balanced(line));
    HRMR_CHECK(part == nullptr || replies.disturbances().has_removed);
    return true;
  }
  if (part != nullptr && !fails(*part) && reply == answer_to(*part, line)) {
    return part->act == Act::kClose;
  }
  check_substitute(reply, part, replies.disturbances());
  return false;
}

void check_lines(const Outcome& outcome, Replies& replies, bool is_local) {
  for (const Seen& seen : outcome.requests) {
    if (replies.may_end_early() && replies.is_empty()) return;
    if (check_line(seen.bytes, replies, is_local)) return;
  }
  if (replies.skip_timeout()) return;
  if (outcome.is_refused) replies.take_all(outcome.reply);
}

// ---- HTTP

struct Response {
  int status = 0;
  std::string body;
  size_t length = 0;
  bool has_length = false;
  bool closes = false;
};

// False: it is cut off.
bool read_chunks(Replies& replies, std::string& body) {
  for (;;) {
    const std::string_view line = replies.take_to("\r\n");
    if (replies.has_ended()) return false;
    size_t digits = 0;
    const size_t bytes = std::stoul(std::string(line), &digits, 16);
    HRMR_CHECK_EQ(digits, line.size() - 2);
    body += replies.take(bytes);
    const std::string_view end = replies.take(2);
    if (replies.has_ended()) return false;
    HRMR_CHECK(end == "\r\n");
    if (bytes == 0) return true;
  }
}

// False: it is cut off.
bool read_response(Replies& replies, bool has_body, Response& response) {
  const std::string_view head = replies.take_to("\r\n\r\n");
  if (replies.has_ended()) return false;
  HRMR_CHECK(starts_with(head, "HTTP/1.1 "));
  response.status = std::stoi(std::string(head.substr(9, 3)));
  response.closes = head.find("\r\nConnection: close\r\n") != std::string_view::npos;
  HRMR_CHECK(head.find("\r\nDate: ") != std::string_view::npos);
  const size_t length_at = head.find("\r\nContent-Length: ");
  const bool has_chunks = head.find("\r\nTransfer-Encoding: chunked\r\n") != head.npos;
  response.has_length = length_at != std::string_view::npos;
  HRMR_CHECK(!has_chunks || !response.has_length);
  if (has_chunks) return !has_body || read_chunks(replies, response.body);
  if (response.has_length) {
    response.length = std::stoul(std::string(head.substr(length_at + 18)));
    if (has_body) response.body = replies.take(response.length);
    return !replies.has_ended();
  }
  // Up to the end of the connection.
  HRMR_CHECK(response.closes);
  if (has_body) response.body = replies.take_rest();
  return !replies.may_end_early();
}

void check_response(const Seen& seen, const Response& response, const Disturbances& disturbances) {
  const Part* part = http_part_of(seen.method, seen.path);
  switch (response.status) {
    case 200: {
      HRMR_CHECK(part != nullptr && !fails(*part));
      const std::string expected = answer_to(*part, seen.bytes);
      if (response.has_length) HRMR_CHECK_EQ(response.length, expected.size());
      HRMR_CHECK(seen.head_only || response.body == expected);
      return;
    }
    case 403:
      HRMR_CHECK(starts_with(seen.path, "/call/"));
      return;
    case 404:
    case 405:
      HRMR_CHECK(part == nullptr || disturbances.has_removed);
      return;
    case 503:
      HRMR_CHECK(disturbances.has_refused);
      return;
    default:
      HRMR_CHECK_EQ(response.status, 500);
      HRMR_CHECK(part != nullptr);
      HRMR_CHECK(fails(*part) || (part->act == Act::kDefer && disturbances.has_dropped));
  }
}

// True: the connection ends behind it.
bool check_exchange(const Seen& seen, Replies& replies) {
  static_cast<void>(replies.skip(kContinue));
  if (replies.skip_timeout()) return true;
  Response response;
  if (!read_response(replies, !seen.head_only, response)) return true;
  if (seen.target == "/hrmr/reload" || seen.target == "/hrmr/shutdown") {
    HRMR_CHECK(response.closes);
    return true;
  }
  check_response(seen, response, replies.disturbances());
  if (!seen.keep_alive) HRMR_CHECK(response.closes);
  const Part* part = http_part_of(seen.method, seen.path);
  const bool may_close = !seen.keep_alive || seen.http_minor == 0 ||
                         (part != nullptr && part->act == Act::kClose) ||
                         replies.disturbances().has_drained;
  if (response.closes) HRMR_CHECK(may_close);
  return response.closes;
}

void check_http(const Outcome& outcome, Replies& replies) {
  for (const Seen& seen : outcome.requests) {
    if (replies.may_end_early() && replies.is_empty()) return;
    if (check_exchange(seen, replies)) return;
  }
  static_cast<void>(replies.skip(kContinue));
  if (replies.skip_timeout()) return;
  if (outcome.is_refused) replies.take_all(dated(outcome.reply));
}

// ----

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

bool contains_any(std::string_view text, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [text](std::string_view part) {
    return text.find(part) != std::string_view::npos;
  });
}

// What a request is depends on when its bytes came: no verdict.
bool depends_on_time(std::string_view sent, const Disturbances& disturbances) {
  if (disturbances.passed_ms < limits::kBareCommandQuietMs) return false;
  return contains_any(upper(sent), {"RELOAD", "CLOSE", "SHUTDOWN"});
}

// Commands are not modelled here: no verdict on what calls a built-in one, or is a call in form.
bool may_call_commands(std::string_view sent) {
  while (!sent.empty()) {
    const std::string_view line = wire::first_line(sent);
    const bool is_own_word = is_word(line, "CLOSE") || is_word(line, "SHUTDOWN") ||
                             begins_with_word(line, "RELOAD") || begins_with_word(line, "AUTH");
    const bool is_call = server::find_built_in(wire::first_word(line)) != nullptr && !is_own_word;
    if (is_call || starts_with(line, "*") || !wire::is_balanced(line)) return true;
    sent.remove_prefix(std::min(sent.find('\n'), sent.size() - 1) + 1);
  }
  return false;
}

wire::FrameLimits frame_limits() {
  wire::FrameLimits limits;
  limits.body_bytes_max = kBodyBytesMax;
  return limits;
}

// Each reply was there before the peer half-closed, unless that completed a request.
void check_prompt(const Socket& socket, wire::Framing framing, std::string_view sent,
                  const Outcome& at_end) {
  if (socket.taken_before_end == SIZE_MAX) return;
  const Outcome before = feed(framing, frame_limits(), sent, Cut(), false);
  if (before.requests.size() != at_end.requests.size()) return;
  if (before.is_refused != at_end.is_refused) return;
  HRMR_CHECK_EQ(socket.taken.size(), socket.taken_before_end);
}

// What the first line says; kNeedMore: there is no verdict.
wire::Opening opening_of(std::string_view sent, const Disturbances& disturbances) {
  const wire::Opening opening = wire::classify_opening(sent, true, frame_limits().line_bytes_max);
  if (opening != wire::Opening::kHttpLike) return opening;
  if (disturbances.has_removed) return wire::Opening::kNeedMore;
  const bool is_claimed = part_of(RouteFraming::kLine, sent) != nullptr;
  return is_claimed ? wire::Opening::kLine : wire::Opening::kHttp;
}

}  // namespace

void check_replies(const PeerSeen& peer, const Disturbances& disturbances, bool has_raw) {
  if (peer.socket == nullptr) return;
  const Socket& socket = *peer.socket;
  std::string_view sent = socket.sent.substr(0, socket.arrived);
  if (has_raw && sent.find("RAW ") != std::string_view::npos) return;
  if (depends_on_time(sent, disturbances)) return;
  if (may_call_commands(sent)) return;
  sent.remove_prefix(wire::leading_empty_lines(sent));
  // A reply that fails behind its first piece breaks the connection off.
  const bool may_break = disturbances.has_dropped || contains_any(sent, {"BROKEN ", "/broken"});
  // So does a file that became shorter, the end of a drain that a stream has outlived, and the
  // timeout of a peer that does not read.
  const bool may_abort = may_break || peer.is_cut_off || disturbances.has_drained ||
                         disturbances.passed_ms >= kTimeoutMs;
  HRMR_CHECK(may_abort || !socket.is_aborted);
  const bool may_end_early = peer.is_cut_off || may_break || disturbances.has_drained ||
                             disturbances.passed_ms >= kTimeoutMs;
  Replies replies(socket.taken, disturbances, may_end_early);
  const wire::Opening opening = opening_of(sent, disturbances);
  if (opening == wire::Opening::kForeign || sent.empty()) {
    static_cast<void>(replies.skip_timeout());  // while it was not seen to be foreign
    HRMR_CHECK(replies.is_empty());
  }
  if (opening == wire::Opening::kForeign || opening == wire::Opening::kNeedMore) return;
  if (sent.front() == '*') return;
  if (opening == wire::Opening::kBinary) {
    if (replies.skip_timeout()) return;
    if (!may_end_early || !replies.is_empty()) replies.take_all(wire::kBinaryReply);
    HRMR_CHECK(replies.is_empty());
    return;
  }

  const bool is_http = opening == wire::Opening::kHttp;
  const wire::Framing framing = is_http ? wire::Framing::kHttp : wire::Framing::kLine;
  const Outcome outcome = feed(framing, frame_limits(), sent, Cut(), true);
  if (is_http) {
    check_http(outcome, replies);
  } else {
    check_lines(outcome, replies, peer.is_local);
  }
  HRMR_CHECK(replies.is_empty());
  if (!may_end_early && !replies.has_given_up()) check_prompt(socket, framing, sent, outcome);
}

}  // namespace hrmr::fuzz
