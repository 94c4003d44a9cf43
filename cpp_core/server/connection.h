// Connection: one accepted socket. Reads into its stream, lets the dispatcher answer, writes what
// was answered.
//
// Edge-triggered: it remembers what the kernel said last (is_readable_, is_writable_) and never
// asks epoll again. While a batch, a deferred reply or a command is away it neither reads nor
// handles anything, which is all the flow control there is: the input buffer stands still, and the
// kernel's own buffer stops the peer. While a part of a file is away to be read it sends nothing,
// as if the peer took nothing, but the peer is not late then.
//
// Lifetime: made by its shard at accept; destroy() closes the socket and hands the object to the
// loop's end of turn, or, while something of it is away, waits for that first. Threads: its loop's.
#pragma once

#include <cstdint>
#include <memory>

#include "base/fd.h"
#include "net/event_loop.h"
#include "net/listener.h"
#include "net/timer_wheel.h"
#include "server/dispatcher.h"
#include "server/file_reading.h"
#include "server/patience.h"
#include "server/stream.h"

namespace hrmr::server {

class Shard;

class Connection final : public net::Source,
                         public net::Timer,
                         public net::Retired,
                         public StreamOwner,
                         public FileReader {
 public:
  Connection(Shard& shard, Fd fd, const net::Peer& peer);
  ~Connection() override = default;

  Status open();
  // The server shuts down: answers what has arrived, then closes.
  void drain();
  // Closes now, whatever is under way; the object lives on until nothing of it is away.
  void destroy();

  void on_event(uint32_t events) override;
  void on_timer() override;
  void on_batch_done(Batch& batch) override;
  void on_deferred_done(std::unique_ptr<Deferred> deferred) override;
  void on_piece(Piece& piece) override;
  void on_command_done(std::string_view reply) override;
  void on_file_read(std::unique_ptr<FileReading> reading) override;
  void on_hold_over(bool has_waited_in_vain) override;
  void visit_streams(const std::function<void(const Stream&)>& visit) override;

 private:
  friend class Shard;
  enum class State : uint8_t { kServing, kLingering, kClosed };

  void turn();
  void go_on();
  void forget_if_back();
  bool serve(bool& wants_turn);
  bool read_some();
  bool flush();
  bool send_bytes();
  bool send_file_part();
  bool read_in(FileRange& range);
  void settle(bool wants_turn);
  void settle_for_long();
  void abort();
  void break_off();
  void linger();
  void discard();
  const Timeouts& timeouts() const;
  void arm_timer();
  void note_rest();
  void note_sent();
  void note_full();
  bool has_full_output() const;
  size_t queued_bytes() const;
  void give_up_on_peer();
  void release_buffers();
  void stash_input();
  bool is_busy() const { return stream_.is_away || reading_ != nullptr; }
  bool is_idle() const;
  bool has_unsent() const;

  Shard& shard_;
  Fd fd_;
  Stream stream_;
  State state_ = State::kServing;
  bool is_readable_ = true;        // until a read says otherwise
  bool is_writable_ = true;        // until a write says otherwise
  bool reads_to_the_end_ = false;  // a short read does not tell that the socket is empty
  bool is_reset_ = false;          // by the peer: nothing of ours reaches it
  bool awaits_quiet_ = false;      // the input is a bare command; the timer runs for it
  bool has_handled_ = false;       // a request, in this turn
  size_t unsent_requests_ = 0;     // handled since all was last sent
  size_t file_bytes_left_ = 0;     // that this turn may still send
  Patience patience_;
  // Of the output's first file, while it is away.
  FileReading* reading_ = nullptr;
  Connection* next_ = nullptr;  // in the shard's list
  Connection* previous_ = nullptr;
};

}  // namespace hrmr::server
