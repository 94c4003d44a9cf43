#include "text_verdict.h"

#include <algorithm>
#include <initializer_list>
#include <span>

#include "generation.h"
#include "server/built_in.h"
#include "server/exchange.h"
#include "wire/arguments.h"
#include "wire/first_line.h"

namespace hrmr::fuzz {
namespace {

using modules::RouteFraming;
using server::BuiltIn;
using wire::Framing;
using wire::ValueForm;

bool is_word(std::string_view line, std::string_view word) {
  return equals_ignoring_case(line, word);
}

bool begins_with_word(std::string_view line, std::string_view word) {
  return is_word(line.substr(0, line.find(' ')), word);
}

// RELOAD, AUTH, CLOSE, SHUTDOWN: what the server takes off any line.
bool is_own_line(std::string_view line) {
  return begins_with_word(line, "RELOAD") || begins_with_word(line, "AUTH") ||
         is_word(line, "CLOSE") || is_word(line, "SHUTDOWN");
}

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> beginnings) {
  return std::any_of(beginnings.begin(), beginnings.end(),
                     [text](std::string_view each) { return starts_with(text, each); });
}

std::string bulk_of(std::string_view text) {
  return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n";
}

// The arguments of a call, the name in front. They are decoded where they lie, in `bytes`.
std::vector<wire::Text> arguments_of(TextRequest& request) {
  wire::Request call;
  call.framing = request.framing;
  call.bytes = request.bytes;
  std::vector<wire::Text> arguments;
  static_cast<void>(wire::read_arguments(call, SIZE_MAX, arguments));
  return arguments;
}

// What goes on behind a request.
enum class Next : uint8_t { kGoesOn, kEnds };

// One request of a connection after the other.
class TextCheck {
 public:
  TextCheck(Replies& replies, bool is_local) : replies_(replies), is_local_(is_local) {}

  Next check(TextRequest request);
  void check_refusal(std::string_view reply);

 private:
  enum class Silence : uint8_t { kNone, kNext, kAll };

  const Disturbances& disturbances() const { return replies_.disturbances(); }
  ValueForm form() const { return is_resp3_ ? ValueForm::kResp3 : ValueForm::kResp2; }
  bool take_silence();
  Next give_up();
  // Exactly that, unless the client is to hear nothing.
  Next expect(std::string_view reply);
  Next expect_error(std::string_view message) {
    return expect(error_text("ERR", message, ValueForm::kResp2));
  }
  // One value, whatever it is.
  Next expect_any();
  void skip_value();
  Next expect_unbalanced();

  Next check_own_line(TextRequest& request);
  Next check_plain_word(std::string_view line);
  Next check_route(const Part& part, std::string_view line);
  void check_substitute(std::string_view reply, const Part& part, bool is_unbalanced);
  Next check_unrouted(TextRequest& request, std::string_view name);
  Next check_call(const Part& part, TextRequest& request);
  bool is_substitute(const Part& part, Framing framing) const;
  Next check_built_in(const BuiltIn& built_in, TextRequest& request);
  Next check_connection_command(std::string_view name, std::span<const wire::Text> arguments);
  Next check_client(std::span<const wire::Text> arguments);
  Next check_hello(std::span<const wire::Text> arguments);
  Next check_reload(std::span<const wire::Text> arguments);
  Next check_shutdown(std::span<const wire::Text> arguments);

  Replies& replies_;
  bool is_local_;
  bool is_silent_ = false;  // the request that is checked
  Silence silence_ = Silence::kNone;
  bool is_resp3_ = false;
  // It speaks Redis' protocol: an unknown word is an unknown command then, and no line without a
  // route. It may, if what it has called may have been removed by then.
  bool speaks_resp_ = false;
  bool may_speak_resp_ = false;
};

bool TextCheck::take_silence() {
  const bool is_silent = silence_ != Silence::kNone;
  if (silence_ == Silence::kNext) silence_ = Silence::kNone;
  return is_silent;
}

Next TextCheck::give_up() {
  replies_.give_up();
  return Next::kEnds;
}

Next TextCheck::expect(std::string_view reply) {
  if (!is_silent_) replies_.take_all(reply);
  return replies_.has_ended() ? Next::kEnds : Next::kGoesOn;
}

Next TextCheck::expect_any() {
  if (!is_silent_) skip_value();
  return replies_.has_ended() ? Next::kEnds : Next::kGoesOn;
}

void TextCheck::skip_value() {
  const std::string_view line = replies_.take_to("\r\n");
  if (replies_.has_ended()) return;
  constexpr std::string_view kNew = "_#,=%~";
  if (kNew.find(line.front()) != std::string_view::npos) HRMR_CHECK(is_resp3_);
  if (line == "$-1\r\n" || starts_with_any(line, {"+", "-", ":", "_", "#", ","})) return;
  const size_t count = std::stoul(std::string(line.substr(1)));
  if (starts_with_any(line, {"$", "="})) {
    const std::string_view blob = replies_.take(count + 2);
    HRMR_CHECK(replies_.has_ended() || blob.substr(count) == "\r\n");
    return;
  }
  HRMR_CHECK(starts_with_any(line, {"*", "~", "%"}));
  const size_t elements = line.front() == '%' ? 2 * count : count;
  for (size_t i = 0; i < elements && !replies_.has_ended(); ++i) skip_value();
}

Next TextCheck::expect_unbalanced() {
  static_cast<void>(expect(wire::kUnbalancedReply));
  return Next::kEnds;
}

Next TextCheck::check(TextRequest request) {
  if (replies_.may_end_early() && replies_.is_empty()) return Next::kEnds;
  if (replies_.skip_timeout()) return Next::kEnds;
  is_silent_ = take_silence();
  if (request.framing == Framing::kResp) {
    speaks_resp_ = true;
    const Part* part = command_part_of(request.name);
    return part != nullptr ? check_call(*part, request) : check_unrouted(request, request.name);
  }
  const std::string_view line = request.bytes;
  if (is_own_line(line)) return check_own_line(request);
  if (const Part* part = part_of(RouteFraming::kLine, line)) return check_route(*part, line);
  if (!wire::first_word(line).empty() && !wire::is_balanced(line)) return expect_unbalanced();
  char buffer[limits::kCommandNameBytesMax + 1];
  const std::string_view name = wire::first_word(line, buffer);
  const Part* part = command_part_of(name);
  if (part == nullptr) return check_unrouted(request, name);
  (disturbances().has_removed ? may_speak_resp_ : speaks_resp_) = true;
  return check_call(*part, request);
}

// ---- the server's own words, as lines

Next TextCheck::check_own_line(TextRequest& request) {
  if (!speaks_resp_ && may_speak_resp_) return give_up();
  if (!speaks_resp_) return check_plain_word(request.bytes);
  if (!wire::is_balanced(request.bytes)) return expect_unbalanced();
  char buffer[limits::kCommandNameBytesMax + 1];
  return check_built_in(*server::find_built_in(wire::first_word(request.bytes, buffer)), request);
}

Next TextCheck::check_plain_word(std::string_view line) {
  if (is_word(line, "CLOSE")) return Next::kEnds;
  const std::string_view reply = replies_.take_to("\n");
  if (replies_.has_ended()) return Next::kEnds;
  if (begins_with_word(line, "AUTH")) {
    HRMR_CHECK(starts_with(reply, "ERR there is no admin token"));
    return Next::kGoesOn;
  }
  if (is_word(line, "SHUTDOWN")) {
    HRMR_CHECK(starts_with(reply, is_local_ ? "OK shutting down\n" : "ERR SHUTDOWN is taken"));
    return is_local_ ? Next::kEnds : Next::kGoesOn;
  }
  if (starts_with(reply, "ERR RELOAD takes at most")) return Next::kGoesOn;
  if (is_local_) {
    HRMR_CHECK(reply == kReloadAnswer);
  } else {
    HRMR_CHECK(starts_with(reply, "ERR RELOAD is taken from this machine only"));
  }
  return Next::kGoesOn;
}

// ---- routes

Next TextCheck::check_route(const Part& part, std::string_view line) {
  const bool is_unbalanced = !wire::is_balanced(line);
  const bool closes = part.act == Act::kClose;
  if (is_silent_) {
    // Whether it was the handler that would have answered does not show.
    const bool may_end = closes || is_unbalanced;
    if (may_end && (disturbances().has_removed || disturbances().has_refused)) return give_up();
    return closes ? Next::kEnds : Next::kGoesOn;
  }
  const std::string_view reply = replies_.take_to("\n");
  if (replies_.has_ended()) return Next::kEnds;
  if (!fails(part) && reply == answer_to(part, line)) {
    return closes ? Next::kEnds : Next::kGoesOn;
  }
  check_substitute(reply, part, is_unbalanced);
  return reply == wire::kUnbalancedReply ? Next::kEnds : Next::kGoesOn;
}

// What a handler may be replaced by, if the script has given a reason.
void TextCheck::check_substitute(std::string_view reply, const Part& part, bool is_unbalanced) {
  if (starts_with(reply, "ERR no route for '")) {
    HRMR_CHECK(disturbances().has_removed && !speaks_resp_);
  } else if (starts_with(reply, "-ERR unknown command '")) {
    HRMR_CHECK(disturbances().has_removed);
  } else if (reply == wire::kUnbalancedReply) {
    HRMR_CHECK(disturbances().has_removed && is_unbalanced);
  } else if (starts_with(reply, "503 ")) {
    HRMR_CHECK(disturbances().has_refused);
  } else if (starts_with(reply, "ERR module 'spec' dropped the request")) {
    HRMR_CHECK(disturbances().has_dropped && defers(part));
  } else {
    HRMR_CHECK(reply == "ERR module 'spec' failed\n");
    HRMR_CHECK(fails(part));
  }
}

// ---- commands of modules

Next TextCheck::check_call(const Part& part, TextRequest& request) {
  const std::vector<wire::Text> all = arguments_of(request);
  const std::span<const wire::Text> arguments = std::span(all).subspan(1);
  const bool fits = arguments.size() >= arguments_min(part) && arguments.size() <= kArgumentsMax;
  const bool closes = fits && part.act == Act::kClose;
  if (is_silent_) {
    if (closes && (disturbances().has_removed || disturbances().has_refused)) return give_up();
    return closes ? Next::kEnds : Next::kGoesOn;
  }
  if (is_substitute(part, request.framing) || replies_.is_cut_short()) {
    static_cast<void>(replies_.take_to("\n"));
    return replies_.has_ended() ? Next::kEnds : Next::kGoesOn;
  }
  if (!fits) return expect_error(server::wrong_arity_text(part.prefix));
  const Next next = expect(answer_to(value_of(part, arguments), form()));
  return closes ? Next::kEnds : next;
}

bool TextCheck::is_substitute(const Part& part, Framing framing) const {
  if (disturbances().has_refused) {
    if (replies_.begins_with(framing == Framing::kLine ? "503 " : "-BUSY ")) return true;
  }
  if (disturbances().has_removed) {
    if (replies_.begins_with("-ERR unknown command '")) return true;
    const bool is_line = framing == Framing::kLine && !speaks_resp_;
    if (is_line && replies_.begins_with("ERR no route for '")) return true;
  }
  return disturbances().has_dropped && defers(part) &&
         replies_.begins_with("-ERR module 'spec' dropped the request without an answer\r\n");
}

// ---- the server's own commands, and what nobody knows

Next TextCheck::check_unrouted(TextRequest& request, std::string_view name) {
  const BuiltIn* built_in = server::find_built_in(name);
  const bool is_line = request.framing == Framing::kLine;
  // As lines these were looked for already.
  if (is_line && built_in != nullptr && built_in->run == nullptr) built_in = nullptr;
  if (built_in != nullptr) {
    speaks_resp_ = true;
    return check_built_in(*built_in, request);
  }
  if (!speaks_resp_ && may_speak_resp_) return give_up();
  if (!speaks_resp_) {
    const std::string_view reply = replies_.take_to("\n");
    if (replies_.has_ended()) return Next::kEnds;
    HRMR_CHECK(starts_with(reply, "ERR no route for '"));
    return Next::kGoesOn;
  }
  const std::vector<wire::Text> arguments = arguments_of(request);
  if (arguments.empty()) return Next::kGoesOn;  // a line of spaces
  std::string message = server::unknown_command_text(arguments);
  std::replace_if(
      message.begin(), message.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  return expect_error(message);
}

Next TextCheck::check_built_in(const BuiltIn& built_in, TextRequest& request) {
  const std::vector<wire::Text> arguments = arguments_of(request);
  if (!server::fits_arity(built_in.arity, arguments.size())) {
    return expect_error(server::wrong_arity_text(built_in.name));
  }
  if (built_in.name == "RELOAD") return check_reload(arguments);
  if (built_in.name == "SHUTDOWN") return check_shutdown(arguments);
  if (built_in.name == "CLIENT") return check_client(arguments);
  if (built_in.name == "HELLO") return check_hello(arguments);
  return check_connection_command(built_in.name, arguments);
}

Next TextCheck::check_connection_command(std::string_view name,
                                         std::span<const wire::Text> arguments) {
  if (name == "CLOSE" || name == "QUIT") {
    static_cast<void>(expect("+OK\r\n"));
    return Next::kEnds;
  }
  if (name == "RESET") {
    if (silence_ == Silence::kAll) is_silent_ = false;
    is_resp3_ = false;
    silence_ = Silence::kNone;
    return expect("+RESET\r\n");
  }
  if (name == "ECHO") return expect(bulk_of(arguments[1]));
  if (name == "PING" && arguments.size() == 1) return expect("+PONG\r\n");
  if (name == "PING" && arguments.size() == 2) return expect(bulk_of(arguments[1]));
  if (name == "PING") return expect_error(server::wrong_arity_text("ping"));
  return expect_any();
}

Next TextCheck::check_client(std::span<const wire::Text> arguments) {
  if (!is_word(arguments[1], "REPLY") || arguments.size() != 3) return expect_any();
  if (is_word(arguments[2], "ON")) {
    silence_ = Silence::kNone;
    is_silent_ = false;
    return expect("+OK\r\n");
  }
  if (is_word(arguments[2], "OFF")) {
    silence_ = Silence::kAll;
    return Next::kGoesOn;
  }
  if (is_word(arguments[2], "SKIP")) {
    if (silence_ != Silence::kAll) silence_ = Silence::kNext;
    return Next::kGoesOn;
  }
  return expect_error("syntax error");
}

Next TextCheck::check_hello(std::span<const wire::Text> arguments) {
  if (arguments.size() > 2) return give_up();
  if (arguments.size() == 2) {
    const std::string_view version = arguments[1];
    if (version != "2" && version != "3") return give_up();
    is_resp3_ = version == "3";
  }
  const std::string before = (is_resp3_ ? "%7\r\n" : "*14\r\n") + bulk_of("server") +
                             bulk_of("redis") + bulk_of("version") + bulk_of("7.0.15") +
                             bulk_of("proto") + (is_resp3_ ? ":3\r\n" : ":2\r\n") + bulk_of("id");
  if (expect(before) == Next::kEnds || expect_any() == Next::kEnds) return Next::kEnds;
  return expect(bulk_of("mode") + bulk_of("standalone") + bulk_of("role") + bulk_of("master") +
                bulk_of("modules") + "*0\r\n");
}

Next TextCheck::check_reload(std::span<const wire::Text> arguments) {
  if (!is_local_ || arguments.size() > 1) return expect_any();
  const std::string text(kReloadAnswer);
  const std::string size = std::to_string(text.size() + 4);
  return expect(is_resp3_ ? "=" + size + "\r\ntxt:" + text + "\r\n" : bulk_of(text));
}

Next TextCheck::check_shutdown(std::span<const wire::Text> arguments) {
  for (const std::string_view word : arguments.subspan(1)) {
    const bool is_known = is_word(word, "NOSAVE") || is_word(word, "SAVE") ||
                          is_word(word, "NOW") || is_word(word, "FORCE");
    if (!is_known) return expect_error("syntax error");
  }
  if (!is_local_) return expect_any();
  static_cast<void>(expect("+OK shutting down\r\n"));
  return Next::kEnds;
}

void TextCheck::check_refusal(std::string_view reply) {
  is_silent_ = take_silence();
  if (reply != wire::kLineTooLongReply) {
    static_cast<void>(expect(reply));
  } else if (!speaks_resp_ && may_speak_resp_) {
    static_cast<void>(give_up());
  } else {
    static_cast<void>(
        expect(speaks_resp_ ? "-ERR Protocol error: too big inline request\r\n" : reply));
  }
}

}  // namespace

TextOutcome feed_text(const wire::FrameLimits& limits, std::string_view sent, bool at_end) {
  TextOutcome outcome;
  std::string input(sent);
  wire::FramerSlot slot;
  wire::HeaderTable headers;
  for (size_t at = 0;;) {
    if (slot.get() == nullptr) {
      at += wire::leading_empty_lines(std::string_view(input).substr(at));
      if (at == input.size()) return outcome;
      slot.choose(input[at] == '*' ? Framing::kResp : Framing::kLine, limits);
    }
    wire::Request request;
    const wire::Frame frame =
        slot.get()->next(input.data() + at, input.size() - at, at_end, request, headers);
    at += frame.consumed;
    if (frame.kind == wire::FrameKind::kNeedMore) return outcome;
    if (frame.kind == wire::FrameKind::kRefused) {
      outcome.is_refused = true;
      outcome.reply = frame.reply;
      return outcome;
    }
    if (frame.kind == wire::FrameKind::kRequest) {
      outcome.requests.push_back(
          {request.framing, std::string(request.bytes), std::string(request.name)});
    }
    slot.reset();
  }
}

void check_text(const TextOutcome& outcome, Replies& replies, bool is_local) {
  TextCheck check(replies, is_local);
  for (const TextRequest& request : outcome.requests) {
    if (check.check(request) == Next::kEnds) {
      static_cast<void>(replies.skip_timeout());
      return;
    }
  }
  if (replies.skip_timeout()) return;
  if (outcome.is_refused) check.check_refusal(outcome.reply);
}

}  // namespace hrmr::fuzz
