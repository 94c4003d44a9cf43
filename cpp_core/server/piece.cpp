#include "server/piece.h"

#include <chrono>

#include "server/deferred.h"
#include "server/host_table.h"

namespace hrmr::server {
namespace {

struct Destination {
  net::EventLoop& loop;
  BatchOwner& owner;
};

Destination destination_of(const hrmr_reply& reply) {
  if (reply.deferred != nullptr) return {reply.deferred->loop(), reply.deferred->owner()};
  return {reply.call->loop, reply.call->owner};
}

int refuse(hrmr_reply& reply, int result, const char* why) {
  if (reply.refusal.empty()) reply.refusal = why;
  return result;
}

}  // namespace

PieceChannel::Room PieceChannel::await_room(uint32_t wait_ms) {
  std::unique_lock lock(mutex_);
  if (!is_gone_ && unread() > bound_ && wait_ms != 0) {
    // Not for each byte that is read: a handler that is woken has something to do.
    changed_.wait_for(lock, std::chrono::milliseconds(wait_ms),
                      [&] { return is_gone_ || unread() <= bound_ / 2; });
  }
  if (is_gone_) return Room::kGone;
  return unread() > bound_ ? Room::kFull : Room::kFree;
}

void PieceChannel::leaves(size_t weight) {
  const std::lock_guard lock(mutex_);
  under_way_ += weight;
}

bool PieceChannel::is_gone() {
  const std::lock_guard lock(mutex_);
  return is_gone_;
}

void PieceChannel::taken(size_t weight) {
  const std::lock_guard lock(mutex_);
  under_way_ -= weight;
  unsent_ += weight;
}

void PieceChannel::report(size_t weight, size_t bound) {
  const std::lock_guard lock(mutex_);
  unsent_ = weight;
  bound_ = bound;
  if (unread() <= bound_ / 2) changed_.notify_all();
}

void PieceChannel::close() {
  const std::lock_guard lock(mutex_);
  is_gone_ = true;
  changed_.notify_all();
}

void Piece::on_delivery() {
  channel_->taken(weight_);
  owner_.on_piece(*this);
  delete this;
}

void Piece::on_undelivered() {
  channel_->close();
  delete this;
}

int begin_stream(hrmr_reply& reply, int64_t length) {
  if (reply.call == nullptr && reply.deferred == nullptr) return HRMR_TOO_LATE;
  const bool is_inline = reply.deferred == nullptr && reply.call->loop.is_current_thread();
  if (is_inline) {
    return refuse(reply, HRMR_BAD_ARGUMENT,
                  "stream was refused: an inline function must defer its reply first");
  }
  const wire::WriteResult result = reply.writer.begin_stream(length);
  if (result != wire::WriteResult::kOk) {
    return refuse(reply, static_cast<int>(result),
                  "stream was refused: the body had begun, or the length is negative");
  }
  reply.channel = std::make_shared<PieceChannel>();
  return HRMR_OK;
}

int flush_stream(hrmr_reply& reply, uint32_t wait_ms) {
  if (reply.channel == nullptr) {
    return refuse(reply, HRMR_BAD_ARGUMENT, "a flush was refused: stream was not called");
  }
  if (reply.writer.has_failed()) return HRMR_TOO_LATE;
  // Nobody reads it, so nothing would ever hold its handler back.
  if (reply.writer.is_silent()) {
    reply.writer.end_piece();
    reply.channel->close();
    return HRMR_GONE;
  }
  const Destination to = destination_of(reply);
  Output& output = reply.writer.output();
  // The loop itself would wait for ever: it is the one that sends.
  const uint32_t most_ms = to.loop.is_current_thread() ? 0 : wait_ms;
  switch (reply.channel->await_room(most_ms)) {
    case PieceChannel::Room::kGone:
      return HRMR_GONE;
    case PieceChannel::Room::kFull:
      return HRMR_BUSY;
    case PieceChannel::Room::kFree:
      break;
  }
  reply.writer.end_piece();
  to.loop.post(*new Piece(to.owner, reply.channel, output, reply.deferred != nullptr));
  reply.writer.piece_is_gone();
  return HRMR_OK;
}

}  // namespace hrmr::server
