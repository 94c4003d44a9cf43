#include "server/shard.h"

#include <pthread.h>

#include <functional>
#include <string>
#include <system_error>
#include <utility>

#include "base/alternate_stack.h"
#include "base/scheduling.h"
#include "base/signals.h"

namespace hrmr::server {
namespace {

// A letter that is sent once, on a cold path.
class Errand final : public net::Letter {
 public:
  explicit Errand(std::function<void()> work) : work_(std::move(work)) {}
  void on_delivery() override {
    work_();
    delete this;
  }
  void on_undelivered() override { delete this; }

 private:
  std::function<void()> work_;
};

}  // namespace

Shard::Shard(unsigned index, const Options& options, ShardOwner& owner, Log& log)
    : options_(options),
      owner_(owner),
      log_(log),
      loop_(index),
      dispatcher_(options, loop_, owner),
      timers_(loop_, owner) {}

Shard::~Shard() {
  while (connections_ != nullptr) {
    Connection* connection = connections_;
    connections_ = connection->next_;
    delete connection;
  }
  loop_.discard_letters();
}

Status Shard::start() {
  const Status opened = loop_.open();
  if (!opened.is_ok()) return opened;
  const SignalsBlocked blocked;
  const std::string name = "hrmr-loop-" + std::to_string(loop_.index());
  try {
    thread_ = std::thread([this, name] {
      pthread_setname_np(pthread_self(), name.c_str());
      ask_for_short_slices();
      const AlternateStack signal_stack;
      loop_.run();
      close_all();
    });
  } catch (const std::system_error& error) {
    return errno_status("start", "thread " + name, error.code().value());
  }
  return Status::ok();
}

void Shard::listen(Fd listening) {
  if (is_draining_) return;
  listeners_.push_back(std::make_unique<net::Listener>(loop_, log_, *this));
  const Status attached = listeners_.back()->attach(std::move(listening));
  if (!attached.is_ok()) log_.error("server", attached.message());
}

void Shard::adopt(Fd fd, const net::Peer& peer) {
  // Shared, because a std::function must be copyable; closed also when it is not delivered.
  auto shared = std::make_shared<Fd>(std::move(fd));
  loop_.post(*new Errand([this, shared, peer] { on_accepted(std::move(*shared), peer); }));
}

void Shard::publish(const modules::Publication& change,
                    std::shared_ptr<const modules::RouteTable>& table) {
  const unsigned loop = loop_.index();
  dispatcher_.swap_table(table);
  for (modules::Module* module : change.resting) {
    if (module->rest_on(loop)) owner_.let_go(module);
  }
  for (modules::Module* module : change.resumed) module->resume_on(loop);
  for (modules::Module* module : change.retired) {
    if (module->retire_on(loop)) owner_.let_go(module);
  }
  if (loop == 0) timers_.follow(change);
  // Last: what was held goes on under the new table, and may pin what serves now.
  dispatcher_.release_held();
}

// Not at once, though this may be the loop: one of these timers may have ended the last request,
// and be under way.
void Shard::end_timers(modules::Module& module) {
  loop_.post(*new Errand([this, &module] { timers_.end(module); }));
}

void Shard::begin_drain() {
  loop_.post(*new Errand([this] { drain_now(); }));
}

void Shard::drain_now() {
  if (is_draining_) return;
  is_draining_ = true;
  for (const auto& listener : listeners_) listener->close();
  loop_.timers().arm(*this, options_.drain_timeout_ms);
  Connection* connection = connections_;
  while (connection != nullptr) {
    Connection* next = connection->next_;
    connection->drain();
    connection = next;
  }
  check_drained();
}

void Shard::on_timer() {
  close_all();
  // Connections with a handler still running stay in the list; nobody waits for them any more.
  if (!has_drained_.exchange(true, std::memory_order_relaxed)) owner_.on_drained();
}

void Shard::close_all() {
  Connection* connection = connections_;
  while (connection != nullptr) {
    Connection* next = connection->next_;
    connection->break_off();
    connection = next;
  }
}

void Shard::visit_streams(const std::function<void(const Stream&)>& visit) const {
  for (const Connection* each = connections_; each != nullptr; each = each->next_) {
    if (each->state_ != Connection::State::kClosed) visit(each->stream_);
  }
}

void Shard::check_drained() {
  if (!is_draining_ || connections_ != nullptr || has_drained_) return;
  has_drained_ = true;
  loop_.timers().disarm(*this);
  owner_.on_drained();
}

void Shard::stop() {
  if (!thread_.joinable()) return;
  loop_.stop();
  thread_.join();
}

void Shard::on_accepted(Fd fd, const net::Peer& peer) {
  // Closed by its owner. What waits to be drained may itself have to call something.
  if (is_draining_ && (!peer.is_own || has_drained_)) return;
  const Place place = owner_.take_place(peer);
  if (place != Place::kTaken) {
    warn_of_refusal(place, peer);
    return;
  }
  auto connection = std::make_unique<Connection>(*this, std::move(fd), peer);
  const Status opened = connection->open();
  if (!opened.is_ok()) {
    log_.warn("server", opened.message());
    owner_.give_place(peer);
    return;
  }
  connection->next_ = connections_;
  if (connections_ != nullptr) connections_->previous_ = connection.get();
  connections_ = connection.release();
}

void Shard::warn_of_refusal(Place place, const net::Peer& peer) {
  ++refused_;
  const uint64_t now_ms = loop_.now_ms();
  const bool is_due = now_ms - refusal_warned_ms_ >= limits::kOverloadWarnMs;
  if (refusal_warned_ms_ != 0 && !is_due) return;
  refusal_warned_ms_ = now_ms;
  const uint64_t refused = std::exchange(refused_, 0);
  const bool is_server = place == Place::kServerFull;
  const size_t most = is_server ? options_.connections_max : options_.connections_per_address_max;
  log_.warn("server",
            "refused " + std::to_string(refused) + (refused == 1 ? " connection" : " connections") +
                ", the last from " + std::string(peer.name, peer.name_size) + ": " +
                (is_server ? "there are " : "this address has ") + std::to_string(most) +
                (is_server ? " open (max_connections, --max-connections)"
                           : " open (max_connections_per_address, --max-connections-per-address)"));
}

void Shard::forget(Connection& connection) {
  if (connection.next_ != nullptr) connection.next_->previous_ = connection.previous_;
  if (connection.previous_ != nullptr) {
    connection.previous_->next_ = connection.next_;
  } else {
    connections_ = connection.next_;
  }
  owner_.give_place(connection.stream_.peer);
  loop_.retire_later(&connection);
  check_drained();
}

}  // namespace hrmr::server
