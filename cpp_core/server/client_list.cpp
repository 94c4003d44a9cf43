#include "server/client_list.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "server/built_in.h"
#include "server/dispatcher.h"
#include "server/shard.h"
#include "wire/value_writer.h"

namespace hrmr::server {

bool ClientFilter::takes(uint64_t id) const {
  return is_all || std::binary_search(ids.begin(), ids.end(), static_cast<int64_t>(id));
}

void describe_client(const Stream& stream, uint64_t now_ms, std::string& text) {
  const Session& session = stream.session;
  const ClientNames none;
  const ClientNames& names = session.names == nullptr ? none : *session.names;
  text.append("id=").append(std::to_string(session.id));
  text.append(" addr=").append(stream.peer_name());
  text.append(" name=").append(names.name);
  text.append(" age=").append(std::to_string((now_ms - session.opened_ms) / 1000));
  text.append(" flags=N db=0 sub=0 psub=0 ssub=0 multi=-1");
  text.append(" qbuf=").append(std::to_string(stream.input.size()));
  text.append(" omem=").append(std::to_string(stream.output.size()));
  text.append(" user=default redir=-1");
  text.append(session.is_resp3 ? " resp=3" : " resp=2");
  text.append(" lib-name=").append(names.library);
  text.append(" lib-ver=").append(names.library_version);
  text.append("\n");
}

void ClientLines::add(const Stream& stream, uint64_t now_ms) {
  if (bytes_ > bytes_max_ || stream.peer.is_own) return;
  lines_.push_back({stream.session.id, {}});
  describe_client(stream, now_ms, lines_.back().text);
  bytes_ += lines_.back().text.size();
}

void ClientLines::take_all(ClientLines& other) {
  bytes_ += std::exchange(other.bytes_, 0);
  lines_.insert(lines_.end(), std::make_move_iterator(other.lines_.begin()),
                std::make_move_iterator(other.lines_.end()));
  other.lines_ = {};
}

void ClientLines::write(wire::ReplyWriter& reply, wire::ValueForm form) {
  bool fits = bytes_ <= bytes_max_;
  if (fits) {
    std::sort(lines_.begin(), lines_.end(),
              [](const Line& one, const Line& other) { return one.id < other.id; });
    std::string text;
    text.reserve(bytes_);
    for (const Line& line : lines_) text.append(line.text);
    fits = wire::ValueWriter(reply, form).verbatim("txt", text) == wire::WriteResult::kOk;
  }
  if (!fits) reply.fail_as("ERR", "the list is larger than a reply may be");
  lines_ = {};
  bytes_ = 0;
}

ClientList::ClientList(const BuiltInCall& call, ClientFilter filter)
    : filter_(std::move(filter)),
      facts_(call.facts),
      owner_(*call.stream.owner),
      loop_(call.loop),
      dispatcher_(call.dispatcher),
      lines_(call.facts.bytes_max) {}

void ClientList::answer(BuiltInCall& call, ClientFilter filter) {
  ClientLines lines(call.facts.bytes_max);
  call.stream.owner->visit_streams([&](const Stream& each) {
    if (filter.takes(each.session.id)) lines.add(each, call.loop.now_ms());
  });
  const auto is_other = [&](const std::unique_ptr<Shard>& shard) {
    return &shard->loop() != &call.loop;
  };
  const auto shards = call.control.shards();
  const auto others = std::count_if(shards.begin(), shards.end(), is_other);
  if (others == 0) {
    lines.write(call.reply, call.facts.form);
    return;
  }
  call.reply.abandon();
  call.stream.is_away = true;
  auto* list = new ClientList(call, std::move(filter));
  list->lines_.take_all(lines);
  list->visits_left_ = static_cast<size_t>(others);
  list->visits_.reserve(list->visits_left_);
  for (const auto& shard : shards) {
    if (!is_other(shard)) continue;
    Visit& visit = list->visits_.emplace_back(call.facts.bytes_max);
    visit.list = list;
    visit.shard = shard.get();
    shard->loop().post(visit);
  }
  call.loop.timers().arm(*list, limits::kClientListWaitMs);
}

// There, and then here.
void ClientList::Visit::on_delivery() {
  if (has_looked) {
    list->take_back(*this);
    return;
  }
  list->look(*this);
  has_looked = true;
  list->loop_.post(*this);  // last: it is the other loop's again
}

void ClientList::look(Visit& visit) const {
  if (is_over_.load(std::memory_order_relaxed)) return;
  const uint64_t now_ms = visit.shard->loop().now_ms();
  visit.shard->visit_streams([&](const Stream& each) {
    if (filter_.takes(each.session.id)) visit.lines.add(each, now_ms);
  });
}

void ClientList::take_back(Visit& visit) {
  visit.is_back = true;
  if (!is_over_.load(std::memory_order_relaxed)) {
    lines_.take_all(visit.lines);
    if (visits_left_ == 1) finish();
  }
  let_go();
}

void ClientList::let_go() {
  if (--visits_left_ == 0) delete this;
}

// Some loop is stuck.
void ClientList::on_timer() {
  std::string missing;
  for (const Visit& each : visits_) {
    if (each.is_back) continue;
    missing.append(missing.empty() ? "" : ", ");
    missing.append(std::to_string(each.shard->loop().index()));
  }
  dispatcher_.warn_of_stuck_loops(missing);
  finish();
}

void ClientList::finish() {
  is_over_.store(true, std::memory_order_relaxed);
  loop_.timers().disarm(*this);
  Output out;
  wire::ReplyWriter reply(out, facts_);
  lines_.write(reply, facts_.form);
  reply.finish();
  owner_.on_command_done(out.view());
}

}  // namespace hrmr::server
