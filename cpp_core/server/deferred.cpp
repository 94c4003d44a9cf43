#include "server/deferred.h"

#include <cstring>
#include <string>

namespace hrmr::server {
namespace {

wire::ReplyFacts facts_with(const wire::ReplyFacts& facts, char (&date)[kHttpDateBytes]) {
  wire::ReplyFacts own = facts;
  if (!facts.date.empty()) {
    std::memcpy(date, facts.date.data(), kHttpDateBytes);
    own.date = {date, kHttpDateBytes};
  }
  return own;
}

}  // namespace

Deferred::Deferred(const Call& call)
    : route_(*call.exchange.route),
      loop_(call.loop),
      owner_(call.owner),
      log_(call.log),
      reply_{wire::ReplyWriter(output_, facts_with(call.facts, date_)), {}, nullptr, this} {
  if (route_.framing == modules::RouteFraming::kCommand) {
    reply_.values.emplace(reply_.writer, call.facts.form);
  }
  module().defer_begins();
}

void Deferred::complete() {
  const bool is_failure = lacks_value(reply_) || !reply_.refusal.empty();
  if (is_failure && !reply_.writer.has_failed()) fail_reply(reply_, route_, log_);
  send_off();
}

void Deferred::drop() {
  const std::string& name = module().name();
  reply_.writer.fail(500, "module '" + name + "' dropped the request without an answer");
  log_.error("module." + name, "the deferred reply of the handler of '" + route_.prefix +
                                   "' was dropped without an answer");
  send_off();
}

void Deferred::send_off() {
  reply_.writer.finish();
  module().defer_ends();
  loop_.post(*this);  // last: the loop may free it at once, and let the module go
}

}  // namespace hrmr::server
