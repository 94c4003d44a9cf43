// The part of the Dispatcher that knows commands: which one a request calls, and what is answered
// when no module has it.
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "server/built_in.h"
#include "server/dispatcher.h"
#include "wire/arguments.h"
#include "wire/first_line.h"

namespace hrmr::server {

using modules::RouteMatch;
using wire::Framing;

namespace {

// Below it are all commands; check_prefix keeps it free.
constexpr std::string_view kCallFolder = "/call/";

// More than any command's name has.
constexpr size_t kNameBytes = limits::kCommandNameBytesMax + 1;

// The built-in command that a RESP array or a line calls, or null.
const BuiltIn* built_in_of(const wire::Request& request) {
  if (request.framing != Framing::kLine) return find_built_in(request.name);
  char name[kNameBytes];
  return find_built_in(wire::first_word(request.bytes, name));
}

}  // namespace

// The route of a request, or the command that it calls. For what may be a call, `name` is set, and
// `form` for what is one.
RouteMatch Dispatcher::find_route(Stream& stream, Exchange& exchange) const {
  wire::Request& request = exchange.request;
  if (request.framing == Framing::kResp) return table_->match_command(request.name);
  if (request.framing == Framing::kHttp && starts_with(request.path, kCallFolder)) {
    request.name = request.path.substr(kCallFolder.size());
    request.form = wire::ValueForm::kJson;
    return request.method == "POST" ? table_->match_command(request.name) : RouteMatch{};
  }
  // One that a batch has left over is matched again, perhaps against another table.
  request.name = {};
  request.form = wire::ValueForm::kNone;
  const RouteMatch match = match_of(exchange);
  if (match.route != nullptr || request.framing != Framing::kLine) return match;
  request.name = wire::first_word(request.bytes);
  char name[kNameBytes];
  const RouteMatch called = table_->match_command(wire::first_word(request.bytes, name));
  if (called.route != nullptr) {
    request.form = stream.session.form();
    stream.session.speaks_resp = true;
  }
  return called;
}

// Commands change things, and a page of another site can send any POST that looks like a form's.
bool Dispatcher::is_call_of_other_site(const Exchange& exchange) const {
  return exchange.request.form == wire::ValueForm::kJson && admin_.is_from_strange_page(exchange);
}

// No module has it: a built-in command, or an error. Nothing is ahead of it.
Step Dispatcher::answer_unrouted(Stream& stream, const Exchange& exchange) {
  wire::Request request = exchange.request;
  if (is_call_of_other_site(exchange)) {
    return fail(stream, request, 403, "asked for by a page of another origin");
  }
  if (request.form == wire::ValueForm::kJson && request.method != "POST") {
    return refuse_method(stream, request);
  }
  if (request.form == wire::ValueForm::kJson) {
    return fail(stream, request, 404, "unknown command '" + shown(request.name) + "'");
  }
  const bool may_be_call = request.framing == Framing::kResp || request.framing == Framing::kLine;
  const BuiltIn* built_in = may_be_call ? built_in_of(request) : nullptr;
  // As lines they were looked for already (route_command): with more behind it, "SHUTDOWN now" is
  // none, and ends nothing.
  const bool is_word = built_in != nullptr && built_in->run == nullptr;
  if (is_word && request.framing == Framing::kLine) built_in = nullptr;
  const bool is_call = built_in != nullptr || stream.session.speaks_resp;
  if (!may_be_call || !is_call) {
    return fail_unrouted(stream, request);
  }
  request.form = stream.session.form();
  stream.session.speaks_resp = true;
  if (built_in != nullptr) return run_built_in(stream, request, *built_in);
  (void)wire::read_arguments(request, options_.frame_limits.elements_max, arguments_);
  if (arguments_.empty()) return Step::kDone;  // a line of spaces
  const std::string text = unknown_command_text(arguments_);
  wire::keep_few(arguments_);
  return fail(stream, request, 404, text);
}

// Of a command, by HTTP.
Step Dispatcher::refuse_method(Stream& stream, const wire::Request& request) {
  wire::ReplyWriter reply(stream.output, facts_for(stream, request));
  reply.fail_method("a command is called with POST", "POST");
  reply.finish();
  stream.closes = reply.closes();
  return stream.closes ? Step::kClosing : Step::kDone;
}

// One of our own words as a line of somebody who speaks Redis' protocol.
Step Dispatcher::answer_word(Stream& stream, const wire::Request& line) {
  wire::Request request = line;
  request.form = stream.session.form();
  const BuiltIn* word = built_in_of(request);
  HRMR_CHECK(word != nullptr);
  return run_built_in(stream, request, *word);
}

Step Dispatcher::run_built_in(Stream& stream, const wire::Request& request,
                              const BuiltIn& built_in) {
  (void)wire::read_arguments(request, options_.frame_limits.elements_max, arguments_);
  const Step step = run_with_arguments(stream, request, built_in);
  wire::keep_few(arguments_);
  return step;
}

Step Dispatcher::run_with_arguments(Stream& stream, const wire::Request& request,
                                    const BuiltIn& built_in) {
  if (!fits_arity(built_in.arity, arguments_.size())) {
    return fail(stream, request, 400, wrong_arity_text(built_in.name));
  }
  if (built_in.run == nullptr) return run_own_word(stream, request, built_in.name);
  const wire::ReplyFacts facts = facts_for(stream, request);
  wire::ReplyWriter reply(stream.output, facts);
  wire::ValueWriter value(reply, request.form);
  BuiltInCall call{stream,   arguments_, reply, value, *table_,
                   options_, control_,   *this, loop_, facts};
  built_in.run(call);
  reply.finish_whole();
  if (stream.is_away) return Step::kAway;
  if (reply.closes()) stream.closes = true;
  return stream.closes ? Step::kClosing : Step::kDone;
}

// RELOAD, CLOSE and SHUTDOWN as commands. SHUTDOWN takes the words that Redis has for it; all of
// them mean the same here.
Step Dispatcher::run_own_word(Stream& stream, const wire::Request& request, std::string_view name) {
  if (name == "RELOAD") {
    if (!may_administer(stream, request, name)) return Step::kDone;
    std::string names;
    for (size_t i = 1; i < arguments_.size(); ++i) names.append(arguments_[i]).append(" ");
    const wire::ReplyFacts facts = facts_for(stream, request);
    return start_reload(stream, names,
                        [facts](const std::string& text) { return word_reload(facts, text); });
  }
  if (name == "SHUTDOWN") {
    for (size_t i = 1; i < arguments_.size(); ++i) {
      bool is_known = false;
      for (const std::string_view word : {"NOSAVE", "SAVE", "NOW", "FORCE"}) {
        is_known = is_known || equals_ignoring_case(arguments_[i], word);
      }
      if (!is_known) return fail(stream, request, 400, "syntax error");
    }
    return shut_down(stream, request);
  }
  say(stream, request, "OK");
  stream.closes = true;
  return Step::kClosing;
}

// One line of text, as the client reads it.
void Dispatcher::say(Stream& stream, const wire::Request& request, std::string_view text) {
  wire::ReplyWriter reply(stream.output, facts_for(stream, request));
  if (request.form == wire::ValueForm::kNone) {
    reply.write(text);
    reply.write("\n");
  } else {
    wire::ValueWriter(reply, request.form).simple(text);
  }
  reply.finish();
}

// The text of a RELOAD as the client of an array reads it. The last line has the sums, and begins
// with ERR when something has failed.
std::string Dispatcher::word_reload(const wire::ReplyFacts& facts, std::string_view text) {
  Output out;
  wire::ReplyWriter reply(out, facts);
  constexpr std::string_view kFailure = "ERR ";
  const size_t last_line = text.rfind('\n', text.size() - 2) + 1;
  if (starts_with(text.substr(last_line), kFailure)) {
    // An error is one line: only what went wrong, and the sums.
    std::string message;
    for (size_t at = 0; at < last_line;) {
      const std::string_view line = wire::first_line(text.substr(at));
      if (starts_with(line, "failed ")) message.append(line).append("; ");
      at += line.size() + 1;
    }
    message += text.substr(last_line + kFailure.size());
    message.pop_back();
    reply.fail_as("ERR", message);
  } else {
    wire::ValueWriter(reply, facts.form).verbatim("txt", text);
  }
  reply.finish_whole();
  return std::string(out.view());
}

}  // namespace hrmr::server
