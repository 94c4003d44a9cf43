// The part of the Dispatcher that knows the built-in words as lines: RELOAD, CLOSE, SHUTDOWN, AUTH;
// and what they and the commands of the same names have in common.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "server/dispatcher.h"
#include "wire/arguments.h"

namespace hrmr::server {

using modules::RouteFraming;

namespace {

// The answer of a RELOAD on its way from the reload thread to the loop of who asked.
class ReloadAnswer final : public net::Letter {
 public:
  ReloadAnswer(StreamOwner& owner, std::function<std::string(const std::string& text)> wording)
      : owner_(owner), wording_(std::move(wording)) {}
  void on_delivery() override {
    owner_.on_command_done(wording_ ? wording_(text) : text);
    delete this;
  }
  void on_undelivered() override { delete this; }
  std::string text;

 private:
  StreamOwner& owner_;
  std::function<std::string(const std::string& text)> wording_;
};

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const size_t begin = text.find_first_not_of(' ');
    if (begin == std::string_view::npos) break;
    const size_t end = std::min(text.find(' ', begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    text.remove_prefix(end);
  }
  return words;
}

}  // namespace

// The built-in words, unless a route has claimed more of the line than the word ("CLOSE THE DOOR").
bool Dispatcher::route_command(Stream& stream, const Exchange& exchange, Step& step) {
  Command command{};
  const std::string_view line = exchange.request.bytes;
  if (!parse_command(line, command)) return false;
  if (!command.arguments.empty()) {
    const modules::RouteMatch match = table_->match(RouteFraming::kLine, line);
    const size_t word_bytes = line.size() - command.arguments.size();
    if (match.route != nullptr && match.route->prefix.size() > word_bytes) return false;
  }
  if (stream.batch != nullptr) {
    step = park(stream, exchange);
  } else if (!stream.session.speaks_resp) {
    step = run_command(stream, command);
  } else if (wire::is_balanced(line)) {
    step = answer_word(stream, exchange.request);
  } else {
    step = refuse(stream, wire::kUnbalancedReply, exchange.request.is_silent);
  }
  return true;
}

Step Dispatcher::run_bare_command(Stream& stream) {
  Command command{};
  if (!parse_command(stream.input.view(), command) || !command.arguments.empty()) {
    return Step::kNeedMore;
  }
  count_request();
  stream.protocol = Protocol::kText;
  stream.framer.reset();
  wire::Request line;
  line.framing = wire::Framing::kLine;
  line.bytes = stream.input.view();
  line.is_silent = stream.session.take_silence();
  const Step step =
      stream.session.speaks_resp ? answer_word(stream, line) : run_command(stream, command);
  stream.input.clear();
  return step;
}

Step Dispatcher::run_command(Stream& stream, const Command& command) {
  if (command.word == Word::kClose) {
    stream.closes = true;
    return Step::kClosing;
  }
  const wire::Request line;
  if (command.word == Word::kAuth) return run_auth(stream, command.arguments);
  if (command.word == Word::kShutdown) return shut_down(stream, line);
  return may_administer(stream, line, "RELOAD") ? start_reload(stream, command.arguments, {})
                                                : Step::kDone;
}

Step Dispatcher::shut_down(Stream& stream, const wire::Request& request) {
  if (!may_administer(stream, request, "SHUTDOWN")) return Step::kDone;
  say(stream, request, "OK shutting down");
  stream.closes = true;
  control_.begin_shutdown();
  return Step::kClosing;
}

// Says why, if not.
bool Dispatcher::may_administer(Stream& stream, const wire::Request& request,
                                std::string_view word) {
  const Access access = admin_.access(stream.peer, stream.has_shown_token);
  if (access == Access::kGranted) return true;
  const char* why = access == Access::kNeedsToken
                        ? " needs the admin token: send AUTH and the token first"
                        : " is taken from this machine only; to take it from anywhere, "
                          "start hrmr with --admin any";
  (void)fail(stream, request, 403, std::string(word) + why);
  return false;
}

Step Dispatcher::start_reload(Stream& stream, std::string_view names, ReloadWording wording) {
  std::vector<std::string> only = split_words(names);
  if (only.size() > limits::kReloadNamesMax) {
    const std::string why =
        "RELOAD takes at most " + std::to_string(limits::kReloadNamesMax) + " names at once";
    if (!wording) return fail(stream, wire::Request(), 400, why);
    stream.output.append(wording("ERR " + why + "\n"));
    return stream.closes ? Step::kClosing : Step::kDone;
  }
  stream.is_away = true;
  auto* reply = new ReloadAnswer(*stream.owner, std::move(wording));
  net::EventLoop* loop = &loop_;
  control_.reload(std::move(only), [reply, loop](std::string text) {
    reply->text = std::move(text);
    loop->post(*reply);
  });
  return Step::kAway;
}

// "RELOAD", "RELOAD name ...", "CLOSE", "SHUTDOWN", "AUTH token", in any case.
bool Dispatcher::parse_command(std::string_view line, Command& command) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  command.arguments = line.substr(end);
  if (equals_ignoring_case(word, "RELOAD")) {
    command.word = Word::kReload;
    return true;
  }
  if (equals_ignoring_case(word, "AUTH")) {
    command.word = Word::kAuth;
    return true;
  }
  if (!command.arguments.empty()) return false;
  if (equals_ignoring_case(word, "CLOSE")) {
    command.word = Word::kClose;
    return true;
  }
  command.word = Word::kShutdown;
  return equals_ignoring_case(word, "SHUTDOWN");
}

}  // namespace hrmr::server
