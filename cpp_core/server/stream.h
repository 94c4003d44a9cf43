// Stream: what a connection has read and not answered, and what it has answered and not sent. The
// part of a connection that the Dispatcher works on; it knows no socket.
//
// Threads: its loop's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/byte_buffer.h"
#include "base/output.h"
#include "net/listener.h"
#include "server/deferred.h"
#include "server/exchange.h"
#include "server/piece.h"
#include "server/session.h"
#include "wire/framer.h"

namespace hrmr::server {

// A connection that spoke HTTP stays HTTP; one that spoke anything else never becomes HTTP.
enum class Protocol : uint8_t { kUndecided, kHttp, kText };

struct Stream;

class StreamOwner : public BatchOwner {
 public:
  // Shows all streams of this one's loop. On the loop's thread.
  virtual void visit_streams(const std::function<void(const Stream&)>& /*visit*/) {}
  // A RELOAD or CLIENT LIST of this stream is done. On the loop's thread.
  virtual void on_command_done(std::string_view reply) = 0;
  // The stream's request was held back and may go on (Dispatcher::end_hold), or has waited in vain.
  // On the loop's thread.
  virtual void on_hold_over(bool has_waited_in_vain) = 0;

 protected:
  ~StreamOwner() = default;
};

struct Stream {
  StreamOwner* owner = nullptr;
  net::Peer peer{};
  ByteBuffer input;
  Output output;
  wire::FramerSlot framer;
  Session session;
  Protocol protocol = Protocol::kUndecided;
  // A raw route took its first bytes, which a web page may have sent: it goes on as raw requests
  // only, so that no part of a page's request is read as a command.
  bool takes_raw_only = false;
  // It has had an answer whose end may be that of the connection: to HTTP/1.0, or to a line or raw
  // request that no command took. Lengths and chunks tell of the others.
  bool ends_with_close = false;
  bool at_end = false;       // the peer has sent its last byte
  bool is_away = false;      // a batch or a command is under way: the input is not touched
  bool closes = false;       // nothing more is read as a request; close when the output is sent
  bool aborts = false;       // it closes in the middle of a reply
  bool is_draining = false;  // the server shuts down: the next reply is the last
  Batch* batch = nullptr;    // being filled
  Batch* away = nullptr;     // at a worker, or in front of one
  Batch* resting = nullptr;  // is back; its requests that are left come before the input
  Batch* held = nullptr;     // has the request that is held back parked in it
  // A reply that a function has deferred. It and the batch that it belongs to come back in either
  // order.
  bool awaits_deferred = false;     // nothing but the reply is away
  Batch* deferring = nullptr;       // is looked at then; null: the function was inline
  std::unique_ptr<Deferred> early;  // came before its batch
  // Of the reply that comes in pieces; null once it is whole.
  std::shared_ptr<PieceChannel> pieces;
  std::unique_ptr<Output> early_pieces;  // came before the batch of their reply
  bool has_shown_token = false;          // AUTH: the built-in commands are open to it
  uint8_t wrong_tokens = 0;
  size_t opening_bytes = 0;  // of the first line, looked at and not decided
  // What the framer said behind the batch that is away: sent behind the batch's last reply.
  std::string_view late_reply;
  bool is_refused = false;  // that was a refusal, which ends the connection

  // A place in HeldStreams.
  bool is_held = false;
  uint64_t hold_until_ms = 0;
  Stream* held_before = nullptr;
  Stream* held_after = nullptr;

  // Requests that were taken off the input still lie in its storage.
  bool holds_requests() const {
    return batch != nullptr || away != nullptr || resting != nullptr || held != nullptr ||
           deferring != nullptr;
  }
  std::string_view peer_name() const { return {peer.name, peer.name_size}; }
};

}  // namespace hrmr::server
