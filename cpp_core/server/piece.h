// A reply that is sent in pieces while its handler still writes it (hrmr_host::stream, flush).
//
// PieceChannel: between the handler's thread, which waits here until the peer has read enough, and
// the loop, which says how much is unread, and that the connection is gone. Piece: what was written
// since the last one, on its way to the loop; the reply's end travels as that of any reply, behind
// the pieces.
//
// Lifetime: a channel is shared by its reply, its pieces and its connection. A piece frees itself
// on the loop. Threads: await_room, leaves and is_gone on the handler's; taken, report on the
// loop's; close on any.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "base/output.h"
#include "net/event_loop.h"
#include "server/exchange.h"

namespace hrmr::server {

class PieceChannel {
 public:
  enum class Room : uint8_t { kFree, kFull, kGone };

  // Waits until what the peer has not read is within its bound, at most `wait_ms`.
  Room await_room(uint32_t wait_ms);
  // A piece of that weight (Output::weight) is about to leave for the loop.
  void leaves(size_t weight);
  bool is_gone();

  // A piece of that weight has come to the loop.
  void taken(size_t weight);
  // So much of the connection's output is not sent; past `bound` no piece is taken.
  void report(size_t weight, size_t bound);
  // The connection is gone; who waits returns.
  void close();

 private:
  size_t unread() const { return under_way_ + unsent_; }

  std::mutex mutex_;
  std::condition_variable changed_;
  size_t under_way_ = 0;
  size_t unsent_ = 0;
  size_t bound_ = limits::kOutputHighBytes;  // until the loop has said it
  bool is_gone_ = false;
};

class Piece final : public net::Letter {
 public:
  // Takes all of `output`. `is_deferred`: of a deferred reply, in front of which a batch may still
  // be away.
  Piece(BatchOwner& owner, std::shared_ptr<PieceChannel> channel, Output& output, bool is_deferred)
      : owner_(owner), channel_(std::move(channel)), is_deferred_(is_deferred) {
    output_.swap(output);
    weight_ = output_.weight();
    channel_->leaves(weight_);
  }
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;

  void on_delivery() override;
  void on_undelivered() override;

  const std::shared_ptr<PieceChannel>& channel() const { return channel_; }
  Output& output() { return output_; }
  bool is_deferred() const { return is_deferred_; }

 private:
  ~Piece() = default;

  BatchOwner& owner_;
  std::shared_ptr<PieceChannel> channel_;
  Output output_;
  size_t weight_ = 0;
  bool is_deferred_;
};

// What hrmr_host::stream and flush do; results are those of abi.h.
int begin_stream(hrmr_reply& reply, int64_t length);
int flush_stream(hrmr_reply& reply, uint32_t wait_ms);

}  // namespace hrmr::server
