// The part of the Dispatcher that looks after the server itself: AUTH, and the built-in commands as
// HTTP requests:
//
//   POST /hrmr/reload      as RELOAD; the body may name modules. 200, or 500 when one failed
//   POST /hrmr/shutdown    as SHUTDOWN
//
// Each answers once and closes. A route of a module that claims "POST /hrmr/..." comes first.
#include <string>

#include "base/text.h"
#include "server/dispatcher.h"

namespace hrmr::server {
namespace {

constexpr std::string_view kAdminFolder = "/hrmr/";

std::string_view trim_spaces(std::string_view text) {
  const size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

}  // namespace

// "token" or "default token", as Redis' clients send it: there is only one user.
Authenticated Dispatcher::authenticate(Stream& stream, std::string_view user,
                                       std::string_view token) {
  if (!admin_.has_token()) return Authenticated::kNoTokenSet;
  if (equals_ignoring_case(user, "default") && admin_.is_token(token)) {
    stream.has_shown_token = true;
    return Authenticated::kGranted;
  }
  warn_of_wrong_token(stream);
  if (++stream.wrong_tokens < limits::kWrongTokensMax) return Authenticated::kWrong;
  stream.closes = true;
  return Authenticated::kWrongAndCloses;
}

void Dispatcher::warn_of_wrong_token(const Stream& stream) {
  ++wrong_tokens_;
  const uint64_t now_ms = loop_.now_ms();
  const bool is_due = now_ms - wrong_token_warned_ms_ >= limits::kWrongTokenWarnMs;
  if (wrong_token_warned_ms_ != 0 && !is_due) return;
  wrong_token_warned_ms_ = now_ms;
  const std::string count = std::to_string(std::exchange(wrong_tokens_, 0));
  control_.log().warn("server", "a wrong admin token from " + std::string(stream.peer_name()) +
                                    " (" + count + " since this was last said)");
}

Step Dispatcher::run_auth(Stream& stream, std::string_view arguments) {
  const std::string_view words = trim_spaces(arguments);
  const size_t space = words.find(' ');
  const bool has_user = space != std::string_view::npos;
  const std::string_view user = has_user ? words.substr(0, space) : "default";
  const std::string_view token = has_user ? trim_spaces(words.substr(space)) : words;
  const wire::Request line;
  switch (authenticate(stream, user, token)) {
    case Authenticated::kGranted:
      stream.output.append("OK\n");
      return Step::kDone;
    case Authenticated::kNoTokenSet:
      return fail(stream, line, 400,
                  "there is no admin token: start hrmr with --admin-token-file to have one");
    case Authenticated::kWrong:
      return fail(stream, line, 401, "wrong token");
    case Authenticated::kWrongAndCloses:
      break;
  }
  (void)fail(stream, line, 401, "wrong token, once too often");
  stream.closes = true;
  return Step::kClosing;
}

bool Dispatcher::is_admin_request(const wire::Request& request) {
  return request.framing == wire::Framing::kHttp && starts_with(request.target, kAdminFolder) &&
         admin_word(request).has_value();
}

std::optional<Dispatcher::Word> Dispatcher::admin_word(const wire::Request& request) {
  const std::string_view name = request.target.substr(kAdminFolder.size());
  if (name == "reload") return Word::kReload;
  if (name == "shutdown") return Word::kShutdown;
  return std::nullopt;
}

// A module that has claimed as much of the request as we have comes first.
bool Dispatcher::route_admin(Stream& stream, const Exchange& exchange,
                             const modules::RouteMatch& match, Step& step) {
  const wire::Request& request = exchange.request;
  if (!is_admin_request(request)) return false;
  const size_t claimed_bytes = request.method.size() + 1 + kAdminFolder.size();
  if (match.route != nullptr && match.route->prefix.size() >= claimed_bytes) return false;
  step = stream.batch != nullptr ? park(stream, exchange) : run_admin(stream, exchange);
  return true;
}

Step Dispatcher::run_admin(Stream& stream, const Exchange& exchange) {
  const wire::Request& request = exchange.request;
  if (request.method != "POST") {
    return answer_admin(stream, request, {405, "only POST is taken here\n", "Allow", "POST"});
  }
  const HttpRefusal refusal = admin_.check_http(exchange, stream.peer);
  if (refusal.is_wrong_token) warn_of_wrong_token(stream);
  if (refusal.status != 0) {
    const bool is_token_asked = refusal.status == 401;
    return answer_admin(stream, request,
                        {refusal.status, std::string(refusal.message) + "\n",
                         is_token_asked ? "WWW-Authenticate" : "", "Bearer"});
  }
  if (admin_word(request) == Word::kReload) return reload_over_http(stream, request);
  control_.begin_shutdown();
  return answer_admin(stream, request, {200, "OK shutting down\n", "", ""});
}

// Whatever is asked here changes the server or is refused: nothing is lost by a new connection for
// the next one.
Step Dispatcher::answer_admin(Stream& stream, const wire::Request& request,
                              const AdminAnswer& answer) {
  write_admin_answer(stream.output, facts_for(stream, request), answer);
  stream.closes = true;
  return Step::kClosing;
}

void Dispatcher::write_admin_answer(Output& out, wire::ReplyFacts facts,
                                    const AdminAnswer& answer) {
  facts.keep_alive = false;
  wire::ReplyWriter writer(out, facts);
  (void)writer.set_status(answer.status);
  if (!answer.header.empty()) (void)writer.add_header(answer.header, answer.value);
  (void)writer.add_header("Cache-Control", "no-store");
  (void)writer.write(answer.body);
  writer.finish_whole();
}

Step Dispatcher::reload_over_http(Stream& stream, const wire::Request& request) {
  std::string names(request.body);
  for (char& c : names) {
    if (c == '\r' || c == '\n' || c == '\t' || c == ',') c = ' ';
  }
  // Set at once, so that nothing that was pipelined behind it is looked at.
  stream.closes = true;
  return start_reload(
      stream, names, [this, facts = facts_for(stream, request)](const std::string& text) mutable {
        facts.date = date();
        const size_t last_line = text.rfind('\n', text.size() - 2) + 1;
        const bool is_good = starts_with(std::string_view(text).substr(last_line), "OK");
        Output out;
        write_admin_answer(out, facts, {is_good ? 200 : 500, text, "", ""});
        return std::string(out.view());
      });
}

}  // namespace hrmr::server
