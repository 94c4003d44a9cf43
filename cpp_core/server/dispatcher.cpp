#include "server/dispatcher.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "server/http_route.h"
#include "wire/arguments.h"
#include "wire/first_line.h"
#include "wire/framer.h"
#include "wire/http1_verdict.h"
#include "wire/line_framer.h"

namespace hrmr::server {

using modules::RouteFraming;
using modules::RouteMark;
using modules::Run;
using wire::Framing;

namespace {

constexpr std::string_view kRespTimeoutReply =
    "-ERR Protocol error: the command did not come in time\r\n";

void begin_request(Session& session, wire::Request& request) {
  request.is_silent = session.take_silence();
  if (request.framing != Framing::kResp) return;
  session.speaks_resp = true;
  request.form = session.form();
}

}  // namespace

Dispatcher::Dispatcher(const Options& options, net::EventLoop& loop, Control& control)
    : options_(options),
      admin_(options.admin),
      loop_(loop),
      control_(control),
      frame_limits_(options.frame_limits),
      batch_requests_max_(std::min(options.pipelined_requests_max, limits::kBatchRequests)),
      held_(loop) {
  table_ = modules::RouteTable::build({});
}

Dispatcher::~Dispatcher() = default;

Step Dispatcher::next(Stream& stream) {
  if (stream.resting != nullptr) return take_up(stream);
  if (!stream.late_reply.empty() || stream.is_refused) return say_late(stream);
  const Step chosen = choose_framing(stream);
  if (chosen == Step::kDone) return frame(stream);
  if (chosen == Step::kNeedMore) return need_more(stream);
  return chosen;
}

// The next request that a batch has left over goes where the table sends it now.
Step Dispatcher::take_up(Stream& stream) {
  Batch& batch = *stream.resting;
  const Step step = route(stream, batch.take_left());
  // A refusal has ended them all.
  if (stream.resting == &batch && !batch.has_left()) recycle_resting(stream);
  return step;
}

void Dispatcher::recycle_resting(Stream& stream) {
  Batch& batch = *stream.resting;
  stream.resting = batch.behind();
  recycle(batch);
}

Step Dispatcher::say_late(Stream& stream) {
  if (stream.batch != nullptr) return send_off(stream);
  wire::append_dated(stream.output, std::exchange(stream.late_reply, {}), date());
  stream.closes = stream.is_refused;
  return stream.closes ? Step::kClosing : Step::kDone;
}

// Leaves a framer in the slot and returns kDone, or says why there is none.
Step Dispatcher::choose_framing(Stream& stream) {
  if (stream.protocol == Protocol::kHttp) {
    if (stream.framer.get() == nullptr) stream.framer.choose(Framing::kHttp, frame_limits_);
    return Step::kDone;
  }
  if (stream.framer.get() == nullptr) {
    stream.input.consume(wire::leading_empty_lines(stream.input.view()));
  }
  const std::string_view input = stream.input.view();
  if (input.empty()) return Step::kNeedMore;
  if (table_->has(RouteFraming::kRaw)) {
    const modules::RouteMatch match = table_->match(RouteFraming::kRaw, input);
    if (match.route != nullptr) {
      const bool is_first = stream.protocol == Protocol::kUndecided;
      stream.takes_raw_only = stream.takes_raw_only || (is_first && wire::may_be_http(input));
      stream.protocol = Protocol::kText;
      stream.framer.choose(Framing::kRaw, frame_limits_);
      return Step::kDone;
    }
  }
  if (stream.takes_raw_only) return refuse(stream, wire::kRawOnlyReply, false);
  if (stream.framer.get() != nullptr) return Step::kDone;
  if (input.front() == '*') {
    stream.protocol = Protocol::kText;
    stream.framer.choose(Framing::kResp, frame_limits_);
    return Step::kDone;
  }
  // Perhaps half of an empty line, which chooses nothing: behind it an array may begin.
  if (input == "\r") return Step::kNeedMore;
  if (stream.protocol == Protocol::kUndecided) return choose_opening(stream, input);
  stream.framer.choose(Framing::kLine, frame_limits_);
  return Step::kDone;
}

// The first request of a connection, of which no raw route took the first bytes.
Step Dispatcher::choose_opening(Stream& stream, std::string_view input) {
  if (is_still_open(stream, input)) return Step::kNeedMore;
  wire::Opening opening =
      wire::classify_opening(input, stream.at_end, frame_limits_.line_bytes_max);
  if (opening == wire::Opening::kHttpLike) {
    const std::string_view line = wire::first_line(input);
    const bool is_claimed = table_->match(RouteFraming::kLine, line).route != nullptr;
    opening = is_claimed ? wire::Opening::kLine : wire::Opening::kHttp;
  }
  switch (opening) {
    case wire::Opening::kNeedMore:
      stream.opening_bytes = input.size();
      return Step::kNeedMore;
    case wire::Opening::kForeign:
      return Step::kForeign;
    case wire::Opening::kBinary:
      return refuse(stream, wire::kBinaryReply, false);
    case wire::Opening::kHttp:
      stream.protocol = Protocol::kHttp;
      stream.framer.choose(Framing::kHttp, frame_limits_);
      return Step::kDone;
    default:  // a line; one that is too long is the framer's to refuse
      stream.protocol = Protocol::kText;
      stream.framer.choose(Framing::kLine, frame_limits_);
      return Step::kDone;
  }
}

// A first line that comes in small pieces is not read from its beginning for each of them.
bool Dispatcher::is_still_open(Stream& stream, std::string_view input) const {
  if (stream.opening_bytes == 0 || stream.at_end) return false;
  if (input.size() >= frame_limits_.line_bytes_max) return false;
  const std::string_view fresh = input.substr(stream.opening_bytes);
  stream.opening_bytes = input.size();
  const wire::Opening opening = wire::classify_opening(fresh, false, frame_limits_.line_bytes_max);
  return opening == wire::Opening::kNeedMore;
}

Step Dispatcher::frame(Stream& stream) {
  Exchange exchange;
  const wire::Frame frame = stream.framer.get()->next(stream.input.data(), stream.input.size(),
                                                      stream.at_end, exchange.request, headers_);
  switch (frame.kind) {
    case wire::FrameKind::kNeedMore:
      stream.input.consume(frame.consumed);
      return need_more(stream);
    case wire::FrameKind::kEmpty:
      stream.input.consume(frame.consumed);
      stream.framer.reset();
      return Step::kDone;
    case wire::FrameKind::kInterim:
      if (stream.batch == nullptr) {
        stream.output.append(frame.reply);
        return Step::kDone;
      }
      stream.late_reply = frame.reply;
      return send_off(stream);
    case wire::FrameKind::kRefused:
      return refuse(stream, stream.session.reply_of(frame), stream.session.take_silence());
    case wire::FrameKind::kRequest:
      break;
  }
  count_request();
  // The views stay good: consuming moves nothing, and nothing is read before they are done with.
  stream.input.consume(frame.consumed);
  if (stream.protocol == Protocol::kText) {
    stream.framer.reset();
    begin_request(stream.session, exchange.request);
  }
  exchange.headers = headers_.items;
  exchange.header_count = exchange.request.framing == Framing::kHttp ? headers_.count : 0;
  return route(stream, exchange);
}

Step Dispatcher::need_more(Stream& stream) {
  if (stream.batch != nullptr) return send_off(stream);
  Command command{};
  if (stream.protocol != Protocol::kHttp && !stream.input.is_empty() &&
      parse_command(stream.input.view(), command) && command.arguments.empty()) {
    return Step::kBareCommand;
  }
  return Step::kNeedMore;
}

Step Dispatcher::route(Stream& stream, const Exchange& framed) {
  Exchange exchange = framed;
  wire::Request& request = exchange.request;
  Step step = Step::kDone;
  if (request.framing == Framing::kLine && route_command(stream, exchange, step)) return step;

  modules::RouteMatch match = find_route(stream, exchange);
  if (is_call_of_other_site(exchange)) match = {};
  if (route_admin(stream, exchange, match, step)) return step;
  exchange.route = match.route;
  const bool has_length = request.framing == Framing::kHttp
                              ? request.http_minor != 0
                              : request.form != wire::ValueForm::kNone;
  if (!has_length) stream.ends_with_close = true;
  const bool is_no_route = request.framing == Framing::kLine && !request.name.empty();
  if (is_no_route && !wire::is_balanced(request.bytes)) {
    return refuse(stream, wire::kUnbalancedReply, request.is_silent);
  }
  const bool is_pooled =
      match.route != nullptr && match.mark == RouteMark::kNone && match.route->run != Run::kInline;
  if (is_pooled && (stream.batch == nullptr || stream.batch->where() == match.route->run)) {
    return enqueue(stream, exchange, match.route->run);
  }
  if (stream.batch != nullptr) return park(stream, exchange);
  if (match.route == nullptr) return answer_unrouted(stream, exchange);
  if (match.mark == RouteMark::kHold) return hold(stream, exchange);
  if (match.mark == RouteMark::kReject) return refuse_reloading(stream, exchange);
  return answer_inline(stream, exchange);
}

modules::RouteMatch Dispatcher::match_of(Exchange& exchange) const {
  if (exchange.request.framing == Framing::kHttp) return match_http(*table_, exchange);
  const auto framing = static_cast<RouteFraming>(exchange.request.framing);
  const modules::RouteMatch match = table_->match(framing, exchange.request.bytes);
  exchange.prefix_bytes = match.route == nullptr ? 0 : match.route->prefix.size();
  return match;
}

Step Dispatcher::fail_unrouted(Stream& stream, const wire::Request& request) {
  wire::ReplyWriter writer(stream.output, facts_for(stream, request));
  refuse_unrouted(*table_, request, writer);
  writer.finish();
  stream.closes = writer.closes();
  return stream.closes ? Step::kClosing : Step::kDone;
}

Step Dispatcher::answer_inline(Stream& stream, const Exchange& exchange) {
  const Call call{exchange,
                  facts_for(stream, exchange.request),
                  stream.peer_name(),
                  loop_,
                  *stream.owner,
                  control_.log(),
                  options_,
                  arguments_,
                  true};
  const Answered answered = answer(call, stream.output);
  if (answered == Answered::kForPool) return enqueue(stream, exchange, Run::kPool);
  if (answered == Answered::kDeferred) {
    exchange.route->module->pin(loop_.index());
    stream.is_away = stream.awaits_deferred = true;
    return Step::kAway;
  }
  stream.closes = answered == Answered::kCloses;
  return stream.closes ? Step::kClosing : Step::kDone;
}

Step Dispatcher::enqueue(Stream& stream, const Exchange& exchange, Run where) {
  Batch& batch = open_batch(stream, where);
  Exchange added = exchange;
  added.request.keep_alive = facts_for(stream, exchange.request).keep_alive;
  batch.add(added);
  exchange.route->module->pin(loop_.index());
  const bool is_last = !added.request.keep_alive;
  const bool is_full = batch.count() >= batch_requests_max_;
  return is_full || is_last ? send_off(stream) : Step::kDone;
}

Step Dispatcher::park(Stream& stream, const Exchange& exchange) {
  if (stream.resting == nullptr) {
    stream.batch->park(exchange);
  } else {
    stream.resting->put_back();  // where it came from it waits as well
  }
  return send_off(stream);
}

// The request waits in its place, as one that is parked does, and the connection with it.
Step Dispatcher::hold(Stream& stream, const Exchange& exchange) {
  stream.held = &take_free_batch(stream, exchange.route->run);
  stream.held->park(exchange);
  stream.is_away = true;
  held_.enter(stream, exchange.route->module->hold_timeout_ms());
  return Step::kAway;
}

void Dispatcher::end_hold(Stream& stream, bool has_waited_in_vain) {
  Batch& batch = *std::exchange(stream.held, nullptr);
  stream.is_away = false;
  if (has_waited_in_vain) {
    (void)refuse_reloading(stream, batch.parked());
  } else {
    (void)route(stream, batch.parked());
  }
  recycle(batch);
}

Step Dispatcher::refuse_reloading(Stream& stream, const Exchange& exchange) {
  const std::string& name = exchange.route->module->name();
  return fail(stream, exchange.request, 503, "module '" + name + "' is being reloaded, try again");
}

void Dispatcher::TurnEnd::on_delivery() {
  is_posted = false;
  for (Submitted& each : submitted) {
    if (each.jobs != 0) each.pool->wake_for(std::exchange(each.jobs, 0));
  }
}

// A worker that is woken for each batch takes the processor from the loop, runs the one job and
// sleeps again: two system calls a request, and no group of jobs ever gathers. So workers are woken
// once, when the loop is through with what this turn has brought.
void Dispatcher::wake_at_turn_end(work::WorkerPool& pool, Run where) {
  Submitted& submitted = turn_end_.submitted[where == Run::kPool ? 0 : 1];
  submitted.pool = &pool;
  ++submitted.jobs;
  if (!std::exchange(turn_end_.is_posted, true)) loop_.post(turn_end_);
}

bool Dispatcher::give_to_pool(work::Job& job) {
  work::WorkerPool& pool = control_.pool(Run::kPool);
  if (!pool.submit_quietly(&job)) return false;
  wake_at_turn_end(pool, Run::kPool);
  return true;
}

void Dispatcher::send_open_batch(Stream& stream) {
  if (stream.batch != nullptr) (void)send_off(stream);
}

Step Dispatcher::send_off(Stream& stream) {
  return submit(stream, *std::exchange(stream.batch, nullptr));
}

Step Dispatcher::submit(Stream& stream, Batch& batch) {
  stream.is_away = true;
  work::WorkerPool& pool = control_.pool(batch.where());
  if (pool.submit_quietly(&batch)) {
    stream.away = &batch;
    wake_at_turn_end(pool, batch.where());
    return Step::kAway;
  }
  refuse_batch(stream, batch);
  return stream.closes ? Step::kClosing : Step::kDone;
}

// The queue is full: every request of the batch is refused, in its place.
void Dispatcher::refuse_batch(Stream& stream, Batch& batch) {
  warn_of_overload();
  unpin_all(batch, nullptr);
  while (batch.next() < batch.count() && !stream.closes) {
    const wire::Request& request = batch.take_left().request;
    (void)fail(stream, request, 503, "overloaded: the queue is full, try again");
  }
  go_on(stream, batch);
}

void Dispatcher::warn_of_overload() {
  const uint64_t now_ms = loop_.now_ms();
  const bool is_due = now_ms - overload_warned_ms_ >= limits::kOverloadWarnMs;
  if (overload_warned_ms_ != 0 && !is_due) return;
  overload_warned_ms_ = now_ms;
  control_.log().warn("server",
                      "overloaded: a queue is full, and requests are refused with 503; more "
                      "threads or python_threads (--threads, --python-threads) serve more at once, "
                      "a larger queue (--queue) lets "
                      "more wait");
}

void Dispatcher::warn_of_stuck_loops(const std::string& loops) {
  const uint64_t now_ms = loop_.now_ms();
  const bool is_due = now_ms - stuck_warned_ms_ >= limits::kOverloadWarnMs;
  if (stuck_warned_ms_ != 0 && !is_due) return;
  stuck_warned_ms_ = now_ms;
  control_.log().warn("server", "CLIENT LIST leaves out the connections of stuck loops (" + loops +
                                    "), which have not answered for " +
                                    std::to_string(limits::kClientListWaitMs) +
                                    " ms: does an inline handler block?");
}

void Dispatcher::take_piece(Stream& stream, Piece& piece) {
  stream.pieces = piece.channel();
  const bool is_early = piece.is_deferred() && !stream.awaits_deferred;
  if (is_early && stream.early_pieces == nullptr) stream.early_pieces = std::make_unique<Output>();
  (is_early ? *stream.early_pieces : stream.output).append(piece.output());
}

// Modules are let go of as soon as nothing of theirs is under way: neither a deferred reply nor a
// peer that does not read keeps those from being reloaded whose requests are answered, or have not
// begun.
void Dispatcher::take_back(Stream& stream, Batch& batch) {
  stream.away = nullptr;
  stream.output.append(batch.output());
  stream.closes = stream.closes || batch.closes();
  stream.aborts = stream.aborts || batch.aborts();
  if (stream.early_pieces != nullptr) {
    stream.output.append(*stream.early_pieces);
    stream.early_pieces.reset();
  } else {
    stream.pieces.reset();
  }
  unpin_all(batch, batch.is_deferred() ? &batch.at(batch.next() - 1) : nullptr);
  if (!batch.is_deferred()) return go_on(stream, batch);
  stream.awaits_deferred = true;
  stream.deferring = &batch;
  if (stream.early != nullptr) take_deferred(stream, std::move(stream.early));
}

void Dispatcher::take_deferred(Stream& stream, std::unique_ptr<Deferred> deferred) {
  if (!stream.awaits_deferred) {
    stream.early = std::move(deferred);
    return;
  }
  stream.awaits_deferred = stream.is_away = false;
  stream.output.append(deferred->output());
  stream.closes = stream.closes || deferred->closes();
  stream.aborts = stream.aborts || deferred->aborts();
  stream.pieces.reset();
  if (stream.deferring != nullptr) go_on(stream, *std::exchange(stream.deferring, nullptr));
  unpin(deferred->module());
}

// Of a batch that is unpinned.
void Dispatcher::go_on(Stream& stream, Batch& batch) {
  stream.is_away = false;
  if (!stream.closes && batch.has_left()) {
    batch.rest_before(stream.resting);
    stream.resting = &batch;
  } else {
    recycle(batch);
  }
}

void Dispatcher::drop(Stream& stream) {
  while (stream.resting != nullptr) recycle_resting(stream);
  if (stream.batch != nullptr) {
    unpin_all(*stream.batch, nullptr);
    recycle(*std::exchange(stream.batch, nullptr));
  }
  if (stream.held == nullptr) return;
  held_.leave(stream);
  stream.is_away = false;
  recycle(*std::exchange(stream.held, nullptr));
}

Step Dispatcher::fail(Stream& stream, const wire::Request& request, int status,
                      std::string_view message) {
  wire::ReplyWriter writer(stream.output, facts_for(stream, request));
  writer.fail(status, message, status == 503 ? 1 : 0);
  writer.finish();
  stream.closes = writer.closes();
  return stream.closes ? Step::kClosing : Step::kDone;
}

// A protocol error: one answer, or none to who wants none, then the end. What follows is never read
// as another protocol.
Step Dispatcher::refuse(Stream& stream, std::string_view reply, bool is_silent) {
  if (is_silent) reply = {};
  while (stream.resting != nullptr) recycle_resting(stream);
  if (stream.batch != nullptr) {
    stream.late_reply = reply;
    stream.is_refused = true;
    return send_off(stream);
  }
  wire::append_dated(stream.output, reply, date());
  stream.closes = true;
  return Step::kClosing;
}

void Dispatcher::time_out(Stream& stream, bool is_body) {
  using wire::Opening;
  bool is_http = stream.protocol == Protocol::kHttp;
  if (stream.protocol == Protocol::kUndecided) {
    // Half a first line, judged as if it ended here.
    const Opening opening =
        wire::classify_opening(stream.input.view(), true, frame_limits_.line_bytes_max);
    is_http = opening == Opening::kHttp || opening == Opening::kHttpLike;
  }
  const wire::Framer* const framer = stream.framer.get();
  if (framer != nullptr && framer->framing() == Framing::kResp) {
    (void)refuse(stream, kRespTimeoutReply, stream.session.take_silence());
    return;
  }
  const auto verdict = is_body ? wire::Verdict::kBodyTimeout : wire::Verdict::kHeadTimeout;
  (void)refuse(stream, is_http ? wire::refused(verdict).reply : wire::kLineTimeoutReply,
               stream.session.take_silence());
}

void Dispatcher::unpin_all(Batch& batch, const Exchange* except) {
  for (size_t i = 0; i < batch.count(); ++i) {
    if (&batch.at(i) != except) unpin(*batch.at(i).route->module);
  }
}

void Dispatcher::recycle(Batch& batch) {
  batch.clear();
  free_batches_.push_back(&batch);
}

void Dispatcher::unpin(modules::Module& module) {
  if (module.unpin(loop_.index())) control_.let_go(&module);
}

Batch& Dispatcher::open_batch(Stream& stream, Run where) {
  if (stream.batch == nullptr) stream.batch = &take_free_batch(stream, where);
  return *stream.batch;
}

Batch& Dispatcher::take_free_batch(Stream& stream, Run where) {
  if (free_batches_.empty()) {
    batches_.push_back(std::make_unique<Batch>(loop_, control_.log(), options_));
    free_batches_.reserve(batches_.size());
    free_batches_.push_back(batches_.back().get());
  }
  Batch& batch = *free_batches_.back();
  free_batches_.pop_back();
  batch.begin(*stream.owner, where, stream.peer_name(), date());
  return batch;
}

// The last reply before a shutdown says so, when nothing is left to be answered behind it.
wire::ReplyFacts Dispatcher::facts_for(const Stream& stream, const wire::Request& request) {
  const bool is_http = request.framing == Framing::kHttp;
  wire::ReplyFacts facts = facts_of(request, options_, is_http ? date() : std::string_view());
  const Batch* resting = stream.resting;
  const bool is_last =
      stream.input.is_empty() &&
      (resting == nullptr || (!resting->has_left() && resting->behind() == nullptr));
  if (stream.is_draining && is_http && is_last) {
    facts.keep_alive = false;
  }
  return facts;
}

std::string_view Dispatcher::date() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec != date_s_) {
    date_s_ = now.tv_sec;
    wire::format_http_date(now.tv_sec, date_);
  }
  return {date_, kHttpDateBytes};
}

}  // namespace hrmr::server
