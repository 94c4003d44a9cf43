#include "verdict.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <string>
#include <utility>

#include "../framer_feed.h"
#include "base/check.h"
#include "base/text.h"
#include "generation.h"
#include "replies.h"
#include "server/exchange.h"
#include "text_verdict.h"
#include "wire/arguments.h"
#include "wire/first_line.h"

namespace hrmr::fuzz {
namespace {

using modules::RouteFraming;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

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

void check_body(const Seen& seen, const Response& response, const std::string& expected) {
  if (response.has_length) HRMR_CHECK_EQ(response.length, expected.size());
  HRMR_CHECK(seen.head_only || response.body == expected);
}

void check_response(const Seen& seen, const Response& response, const Disturbances& disturbances) {
  const Part* part = http_part_of(seen.method, seen.path);
  switch (response.status) {
    case 200:
      HRMR_CHECK(part != nullptr && !fails(*part));
      check_body(seen, response, answer_to(*part, seen.bytes));
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
      HRMR_CHECK(fails(*part) || (defers(*part) && disturbances.has_dropped));
  }
}

// ---- calls by HTTP

constexpr std::string_view kCallFolder = "/call/";

bool is_call(const Seen& seen) { return starts_with(seen.path, kCallFolder); }

const Part* called_part(const Seen& seen) {
  return command_part_of(std::string_view(seen.path).substr(kCallFolder.size()));
}

struct Answer {
  int status;
  std::string body;
};

Answer error_answer(int status, std::string_view message) {
  return {status, error_text("ERR", message, wire::ValueForm::kJson)};
}

// When nothing keeps the command from being called.
Answer answer_of(const Part& part, std::string body) {
  wire::Request call;
  call.framing = wire::Framing::kHttp;
  call.name = part.prefix;
  call.body = body;
  std::vector<wire::Text> all;
  const std::string_view wrong = wire::read_arguments(call, limits::kRespElementsMax, all);
  if (!wrong.empty()) return error_answer(400, wrong);
  const std::span<const wire::Text> arguments = std::span(all).subspan(1);
  if (arguments.size() < arguments_min(part) || arguments.size() > kArgumentsMax) {
    return error_answer(400, server::wrong_arity_text(part.prefix));
  }
  const bool is_error =
      part.act == Act::kFail || part.act == Act::kHalf || part.act == Act::kSayError;
  return {is_error ? 500 : 200, answer_to(value_of(part, arguments), wire::ValueForm::kJson)};
}

void check_call(const Seen& seen, const Response& response, const Disturbances& disturbances) {
  if (response.status == 403) return;  // a page of another origin; other tests' business
  if (seen.method != "POST") {
    HRMR_CHECK_EQ(response.status, 405);
    return;
  }
  const Part* part = called_part(seen);
  if (response.status == 404) {
    HRMR_CHECK(part == nullptr || disturbances.has_removed);
    HRMR_CHECK(
        starts_with(response.body, R"({"error":{"code":"ERR","message":"unknown command ')"));
    return;
  }
  HRMR_CHECK(part != nullptr);
  if (response.status == 503) {
    HRMR_CHECK(disturbances.has_refused);
    HRMR_CHECK(starts_with(response.body, R"({"error":{"code":"BUSY","message":")"));
    return;
  }
  const Answer dropped = error_answer(500, "module 'spec' dropped the request without an answer");
  if (defers(*part) && disturbances.has_dropped && response.body == dropped.body) {
    HRMR_CHECK_EQ(response.status, dropped.status);
    return;
  }
  const Answer expected = answer_of(*part, seen.body);
  HRMR_CHECK_EQ(response.status, expected.status);
  check_body(seen, response, expected.body);
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
  (is_call(seen) ? check_call : check_response)(seen, response, replies.disturbances());
  if (!seen.keep_alive) HRMR_CHECK(response.closes);
  const Part* part = is_call(seen) ? called_part(seen) : http_part_of(seen.method, seen.path);
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

wire::FrameLimits frame_limits() {
  wire::FrameLimits limits;
  limits.body_bytes_max = kBodyBytesMax;
  return limits;
}

// How much has come: of HTTP or else of text.
struct Progress {
  size_t requests;
  bool is_refused;
  bool operator==(const Progress&) const = default;
};

// Each reply was there before the peer half-closed, unless that completed a request.
void check_prompt(const Socket& socket, Progress before, Progress at_end) {
  if (socket.taken_before_end == SIZE_MAX || before != at_end) return;
  HRMR_CHECK_EQ(socket.taken.size(), socket.taken_before_end);
}

// What the first line says; kNeedMore: there is no verdict.
wire::Opening opening_of(std::string_view sent, const Disturbances& disturbances) {
  // An array is no first line.
  if (starts_with(sent, "*")) return wire::Opening::kLine;
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
  if (opening == wire::Opening::kBinary) {
    if (replies.skip_timeout()) return;
    if (!may_end_early || !replies.is_empty()) replies.take_all(wire::kBinaryReply);
    HRMR_CHECK(replies.is_empty());
    return;
  }

  const wire::FrameLimits limits = frame_limits();
  Progress before{}, at_end{};
  if (opening == wire::Opening::kHttp) {
    const Outcome outcome = feed(wire::Framing::kHttp, limits, sent, Cut(), true);
    const Outcome earlier = feed(wire::Framing::kHttp, limits, sent, Cut(), false);
    at_end = {outcome.requests.size(), outcome.is_refused};
    before = {earlier.requests.size(), earlier.is_refused};
    check_http(outcome, replies);
  } else {
    const TextOutcome outcome = feed_text(limits, sent, true);
    const TextOutcome earlier = feed_text(limits, sent, false);
    at_end = {outcome.requests.size(), outcome.is_refused};
    before = {earlier.requests.size(), earlier.is_refused};
    check_text(outcome, replies, peer.is_local);
  }
  HRMR_CHECK(replies.is_empty());
  if (!may_end_early && !replies.has_given_up()) check_prompt(socket, before, at_end);
}

}  // namespace hrmr::fuzz
