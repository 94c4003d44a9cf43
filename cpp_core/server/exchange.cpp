#include "server/exchange.h"

#include <cstring>
#include <string>
#include <type_traits>

#include "base/call_site.h"
#include "base/text.h"
#include "server/host_table.h"
#include "server/piece.h"
#include "wire/arguments.h"
#include "wire/first_line.h"

namespace hrmr::server {
namespace {

// Header arrays are handed to modules as they are.
static_assert(sizeof(wire::Text) == sizeof(hrmr_bytes) &&
              sizeof(wire::Header) == sizeof(hrmr_header));
static_assert(offsetof(wire::Text, size) == offsetof(hrmr_bytes, size));
static_assert(offsetof(wire::Header, value) == offsetof(hrmr_header, value));
static_assert(static_cast<int>(wire::WriteResult::kTooLarge) == HRMR_TOO_LARGE);

hrmr_bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

hrmr_request module_view(const Exchange& exchange, std::string_view peer) {
  const wire::Request& request = exchange.request;
  hrmr_request view{};
  view.size = sizeof(hrmr_request);
  view.framing = static_cast<uint32_t>(request.framing);
  view.http_minor = request.http_minor;
  view.bytes = bytes_of(request.bytes);
  view.rest = bytes_of(request.bytes.substr(exchange.prefix_bytes));
  view.peer = bytes_of(peer);
  if (request.framing != wire::Framing::kHttp) return view;
  view.method = bytes_of(request.method);
  view.target = bytes_of(request.target);
  view.path = bytes_of(request.path);
  view.query = bytes_of(request.query);
  view.body = bytes_of(request.body);
  view.headers = reinterpret_cast<const hrmr_header*>(exchange.headers);
  view.header_count = exchange.header_count;
  return view;
}

// The arguments, with the name in front, and then the command. What is wrong with them is the
// caller's fault, and answered here.
int call_command(const Call& call, hrmr_reply& reply) {
  const wire::Request& request = call.exchange.request;
  const modules::Route& route = *call.exchange.route;
  const std::string_view wrong =
      wire::read_arguments(request, call.options.frame_limits.elements_max, call.arguments);
  if (!wrong.empty()) {
    reply.writer.fail(400, wrong);
    return HRMR_OK;
  }
  const size_t count = call.arguments.size() - 1;
  if (count < route.arguments_min || count > route.arguments_max) {
    reply.writer.fail(400, wrong_arity_text(route.prefix));
    return HRMR_OK;
  }
  hrmr_call view{};
  view.size = sizeof(hrmr_call);
  view.arguments = reinterpret_cast<const hrmr_bytes*>(call.arguments.data() + 1);
  view.count = count;
  view.name = bytes_of(request.name);
  view.peer = bytes_of(call.peer);
  const modules::Module& module = *route.module;
  const CallScope scope(
      {module.name(), module.generation(), route.prefix, true, request.bytes.size()});
  try {
    return route.command(&view, &reply, route.context);
  } catch (...) {
    return HRMR_FAILED;
  }
}

// Where a request enters a module. A C++ exception must not leave one (abi.h); one that does all
// the same ends here and not the server.
int call_guarded(const modules::Route& route, const hrmr_request& request, hrmr_reply& reply) {
  const modules::Module& module = *route.module;
  const CallScope scope(
      {module.name(), module.generation(), route.prefix, true, request.bytes.size});
  try {
    return route.function(&request, &reply, route.context);
  } catch (...) {
    return HRMR_FAILED;
  }
}

}  // namespace

wire::ReplyFacts facts_of(const wire::Request& request, const Options& options,
                          std::string_view date) {
  wire::ReplyFacts facts;
  facts.framing = request.framing;
  facts.head_only = request.head_only;
  facts.keep_alive = request.keep_alive;
  facts.http_minor = request.http_minor;
  facts.date = date;
  facts.bytes_max = options.reply_bytes_max;
  facts.form = request.form;
  facts.is_silent = request.is_silent;
  return facts;
}

void fail_reply(hrmr_reply& reply, const modules::Route& route, Log& log) {
  const std::string& module = route.module->name();
  const std::string why = reply.refusal.empty() ? "" : ": " + reply.refusal;
  reply.writer.fail(500, "module '" + module + "' failed" + why);
  log.error("module." + module, "the handler of '" + route.prefix + "' failed" + why);
}

bool lacks_value(hrmr_reply& reply) {
  if (!reply.values.has_value()) return false;
  if (reply.refusal.empty()) reply.refusal = reply.values->fault();
  return !reply.refusal.empty();
}

std::string shown(std::string_view bytes) {
  constexpr size_t kShownBytes = 64;
  const std::string_view line = wire::first_line(bytes);
  std::string text(line.substr(0, kShownBytes));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  if (line.size() > kShownBytes) text += "...";
  return text;
}

std::string wrong_arity_text(std::string_view command) {
  std::string text = "wrong number of arguments for '";
  for (const char c : command) text += ascii_lower(c);
  return text + "' command";
}

Answered answer(const Call& call, Output& out) {
  const modules::Route& route = *call.exchange.route;
  hrmr_reply reply{wire::ReplyWriter(out, call.facts), {}, &call, nullptr};
  int result = HRMR_OK;
  if (route.framing == modules::RouteFraming::kCommand) {
    reply.values.emplace(reply.writer, call.facts.form);
    result = call_command(call, reply);
    wire::keep_few(call.arguments);
  } else {
    result = call_guarded(route, module_view(call.exchange, call.peer), reply);
  }
  if (reply.is_for_pool) return Answered::kForPool;
  if (reply.call == nullptr) return Answered::kDeferred;
  const bool is_failure = result != HRMR_OK || lacks_value(reply);
  if (is_failure && !reply.writer.has_failed()) {
    // That the peer is gone is no fault of the handler's.
    const bool is_gone = reply.channel != nullptr && reply.channel->is_gone();
    if (is_gone) {
      reply.writer.fail(500, {});
    } else {
      fail_reply(reply, route, call.log);
    }
  }
  reply.writer.finish();
  if (reply.writer.aborts()) return Answered::kAborts;
  return reply.writer.closes() ? Answered::kCloses : Answered::kStaysOpen;
}

void Batch::begin(BatchOwner& owner, modules::Run where, std::string_view peer,
                  std::string_view date) {
  owner_ = &owner;
  where_ = where;
  peer_ = peer;
  std::memcpy(date_, date.data(), kHttpDateBytes);
}

void Batch::add(const Exchange& exchange) {
  Exchange& slot = exchanges_[count_++];
  slot = exchange;
  headers_.insert(headers_.end(), exchange.headers, exchange.headers + exchange.header_count);
}

void Batch::park(const Exchange& exchange) {
  parked_ = exchange;
  headers_.insert(headers_.end(), exchange.headers, exchange.headers + exchange.header_count);
  has_parked_ = true;
}

const Exchange& Batch::parked() {
  parked_.headers = headers_.data() + (headers_.size() - parked_.header_count);
  return parked_;
}

const Exchange& Batch::take_left() {
  has_taken_parked_ = next_ == count_;
  if (!has_taken_parked_) return exchanges_[next_++];
  has_parked_ = false;
  return parked();
}

void Batch::put_back() {
  if (has_taken_parked_) {
    has_parked_ = true;
  } else {
    --next_;
  }
}

void Batch::clear() {
  count_ = next_ = 0;
  has_parked_ = false;
  behind_ = nullptr;
  headers_.clear();
  closes_ = aborts_ = is_deferred_ = false;
  output_.clear();
  if (output_.capacity() > limits::kBufferKeepBytes) output_.release();
}

void Batch::run() {
  // The headers lie one after the other; only now has the vector stopped moving.
  const wire::Header* headers = headers_.data();
  for (size_t i = 0; i < count_; ++i) {
    exchanges_[i].headers = headers;
    headers += exchanges_[i].header_count;
  }
  // Large replies are sent before more are made: what waits in memory for a peer stays bounded.
  while (next_ < count_ && !closes_ && !is_deferred_ &&
         !output_.is_high(options_.output_bytes_max)) {
    const Exchange& exchange = exchanges_[next_++];
    const wire::ReplyFacts facts = facts_of(exchange.request, options_, {date_, kHttpDateBytes});
    const Answered answered =
        answer({exchange, facts, peer_, loop_, *owner_, log_, options_, arguments_}, output_);
    aborts_ = answered == Answered::kAborts;
    closes_ = aborts_ || answered == Answered::kCloses;
    is_deferred_ = answered == Answered::kDeferred;
  }
  loop_.post(*this);
}

}  // namespace hrmr::server
