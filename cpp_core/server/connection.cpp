#include "server/connection.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "net/file_send.h"
#include "net/page_cache.h"
#include "server/shard.h"

namespace hrmr::server {
namespace {

constexpr uint32_t kEvents = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET;
// A read is not worth a system call for less room than this.
constexpr size_t kReadRoomBytes = 4 * 1024;
// Reads of one connection in one turn.
constexpr int kReadsPerTurn = 8;

}  // namespace

Connection::Connection(Shard& shard, Fd fd, const net::Peer& peer)
    : shard_(shard), fd_(std::move(fd)) {
  stream_.owner = this;
  stream_.peer = peer;
  stream_.session.id = shard_.next_connection_id();
}

Status Connection::open() {
  stream_.session.opened_ms = shard_.loop().now_ms();
  patience_.begin(shard_.loop().now_ms());
  arm_timer();
  return shard_.loop().add(fd_.get(), *this, kEvents);
}

void Connection::on_event(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) is_readable_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) reads_to_the_end_ = true;
  if ((events & EPOLLPRI) != 0) reads_to_the_end_ = true;  // recv stops short at urgent bytes
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) is_writable_ = true;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) is_reset_ = true;
  if (state_ == State::kServing) {
    turn();
  } else if (state_ == State::kLingering) {
    discard();
  }
}

void Connection::turn() {
  bool wants_turn = false;
  file_bytes_left_ = limits::kFileBytesPerTurn;
  if (!serve(wants_turn) || !flush()) {
    break_off();
    return;
  }
  if (stream_.pieces != nullptr) {
    stream_.pieces->report(stream_.output.weight(), shard_.options().output_bytes_max);
  }
  settle(wants_turn);
}

// Handles requests and reads more, until there is nothing to do or it was enough for one turn.
// False: the connection is to be closed without a word.
bool Connection::serve(bool& wants_turn) {
  int requests_left = limits::kRequestsPerTurn;
  int reads_left = kReadsPerTurn;
  awaits_quiet_ = has_handled_ = false;
  while (!stream_.is_away && !stream_.closes) {
    if (has_full_output()) {
      if (!flush()) return false;
      if (has_full_output()) {
        // What is left open would hold its modules for as long as the peer does not read.
        shard_.dispatcher().send_open_batch(stream_);
        return true;
      }
    }
    if (requests_left-- == 0) {
      shard_.dispatcher().send_open_batch(stream_);
      wants_turn = !stream_.is_away;
      return true;
    }
    shard_.lend_output(stream_);
    const Step step = shard_.dispatcher().next(stream_);
    if (step == Step::kForeign) return false;
    if (step != Step::kNeedMore && step != Step::kBareCommand) {
      patience_.note_request();
      has_handled_ = true;
      ++unsent_requests_;
      continue;
    }
    if (stream_.at_end) {
      stream_.closes = true;  // half a request is no request
    } else if (!is_readable_) {
      awaits_quiet_ = step == Step::kBareCommand;
      note_rest();
      return true;
    } else if (reads_left-- == 0) {
      wants_turn = true;
      note_rest();
      return true;
    } else if (!read_some()) {
      return false;
    }
  }
  return true;
}

// One read. False: the connection is broken.
bool Connection::read_some() {
  shard_.lend_input(stream_);
  char* room = stream_.input.reserve(kReadRoomBytes);
  const size_t room_bytes = stream_.input.tail_room();
  const ssize_t got = ::recv(fd_.get(), room, room_bytes, 0);
  if (got > 0) {
    stream_.input.commit(static_cast<size_t>(got));
    patience_.note_activity(shard_.loop().now_ms());
    // A short read has emptied the socket, and what comes later is a new edge. Not so when the end
    // or an urgent byte is known to be near: the edge has passed already.
    if (static_cast<size_t>(got) < room_bytes && !reads_to_the_end_) is_readable_ = false;
    return true;
  }
  if (got == 0) {
    stream_.at_end = true;
    is_readable_ = false;
    return true;
  }
  if (errno == EINTR) return true;
  is_readable_ = false;
  return errno == EAGAIN || errno == EWOULDBLOCK;
}

// Writes what the peer takes, or as much of files as one turn may. False: the connection is broken.
bool Connection::flush() {
  while (is_writable_ && reading_ == nullptr && !stream_.output.is_empty()) {
    if (stream_.output.bytes_ready() != 0) {
      if (!send_bytes()) return false;
    } else if (file_bytes_left_ == 0) {
      shard_.loop().schedule(*this);
      return true;
    } else if (!send_file_part()) {
      return false;
    }
  }
  // What is away comes back as output.
  if (stream_.output.is_empty() && !stream_.is_away) unsent_requests_ = 0;
  return true;
}

bool Connection::send_bytes() {
  // A head that waits for its file's first bytes makes one packet with them.
  const int flags = MSG_NOSIGNAL | (stream_.output.has_files() ? MSG_MORE : 0);
  const ssize_t sent =
      ::send(fd_.get(), stream_.output.data(), stream_.output.bytes_ready(), flags);
  if (sent >= 0) {
    stream_.output.consume(static_cast<size_t>(sent));
    note_sent();
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
    note_full();
  } else if (errno != EINTR) {
    return false;
  }
  return true;
}

// A file that has become shorter than was promised breaks the connection: the peer must see that
// bytes are missing, and never get others in their place.
bool Connection::send_file_part() {
  FileRange& range = stream_.output.first_file();
  const uint64_t left_before = range.left;
  const size_t slice = std::min(file_bytes_left_, limits::kFileSliceBytes);
  size_t bytes = net::bytes_ready(range, slice);
  if (bytes == 0) {
    if (read_in(range)) return true;
    bytes = slice;
  }
  const net::FileSent sent = net::send_some(fd_.get(), range, bytes);
  if (sent == net::FileSent::kBroken) return false;
  if (sent == net::FileSent::kFull) {
    note_full();
    return true;
  }
  note_sent();
  file_bytes_left_ -= static_cast<size_t>(left_before - range.left);
  if (range.left == 0) stream_.output.remove_first_file();
  return true;
}

// What comes next is not in the page cache: a worker waits for the disk, and the loop does not.
// False: no worker can be asked, so the loop has to.
bool Connection::read_in(FileRange& range) {
  auto reading = std::make_unique<FileReading>(shard_.loop(), *this, range);
  if (!shard_.dispatcher().give_to_pool(*reading)) {
    reading->give_back(range);
    return false;
  }
  reading_ = reading.release();
  patience_.note_unblocked();  // from here on it is not the peer that is slow
  return true;
}

void Connection::on_file_read(std::unique_ptr<FileReading> reading) {
  reading_ = nullptr;
  if (state_ == State::kClosed) {
    forget_if_back();
    return;
  }
  patience_.note_activity(shard_.loop().now_ms());
  FileRange& range = stream_.output.first_file();
  reading->give_back(range);
  range.ready = reading->end();
  if (reading->is_good()) {
    turn();
  } else {
    break_off();
  }
}

void Connection::note_sent() {
  patience_.note_activity(shard_.loop().now_ms());
  patience_.note_unblocked();
}

// The kernel takes no more for now.
void Connection::note_full() {
  is_writable_ = false;
  patience_.note_blocked(shard_.loop().now_ms(), queued_bytes());
}

// What remains to be done at the end of a turn.
void Connection::settle(bool wants_turn) {
  if (stream_.is_away) {
    if (stream_.awaits_deferred || stream_.pieces != nullptr) settle_for_long();
    return;
  }
  const bool is_flushed = stream_.output.is_empty();
  if (stream_.closes && is_flushed) {
    if (stream_.aborts) {
      abort();
    } else if (stream_.at_end) {
      destroy();
    } else {
      linger();
    }
    return;
  }
  if (stream_.is_draining && is_idle() && !wants_turn) {
    if (has_unsent()) {
      linger();
    } else {
      destroy();
    }
    return;
  }
  if (wants_turn) {
    shard_.loop().schedule(*this);
  } else if (awaits_quiet_) {
    shard_.loop().timers().arm(*this, limits::kBareCommandQuietMs);
  }
  release_buffers();
}

// A deferred reply may be a long time coming.
void Connection::settle_for_long() {
  if (is_reset_) {
    destroy();
  } else {
    release_buffers();
  }
}

bool Connection::is_idle() const {
  return !stream_.is_away && !stream_.holds_requests() && stream_.output.is_empty() &&
         stream_.input.is_empty();
}

// The kernel still holds bytes for the peer. A request that crosses our close would make it answer
// with a reset and forget them.
bool Connection::has_unsent() const { return queued_bytes() != 0; }

size_t Connection::queued_bytes() const {
  int bytes = 0;
  return ::ioctl(fd_.get(), SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<size_t>(bytes) : 0;
}

// The peer has to take something before more of its requests are handled.
bool Connection::has_full_output() const {
  const Options& options = shard_.options();
  return stream_.output.is_high(options.output_bytes_max) ||
         unsent_requests_ >= options.pipelined_requests_max;
}

// The end of a body that ends with the connection must not look like one; and what a peer does not
// take is forgotten by the kernel at once.
void Connection::abort() {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  (void)::connect(fd_.get(), &none, sizeof none);  // a reset, whoever else holds the descriptor
  destroy();
}

// Whatever is under way: half of it must not look whole. Where lengths or chunks tell, the close
// does, and leaves to the peer what the kernel holds for it.
void Connection::break_off() {
  const bool is_half = stream_.pieces != nullptr || !stream_.output.is_empty();
  if (stream_.aborts || (is_half && stream_.ends_with_close)) {
    abort();
  } else {
    destroy();
  }
}

void Connection::release_buffers() {
  if (!stream_.holds_requests()) {
    if (stream_.input.is_empty()) {
      shard_.buffers().give(stream_.input);
    } else if (!has_handled_) {
      stash_input();
    }
  }
  if (stream_.output.is_empty()) shard_.buffers().give(stream_.output);
}

// A turn that brought some of a request and not the end of it: the next may be long in coming.
void Connection::stash_input() {
  const bool is_worth_it = stream_.input.size() <= limits::kStashedBytesMax &&
                           stream_.input.capacity() >= limits::kBufferBytes;
  if (!is_worth_it) return;
  ByteBuffer stash = ByteBuffer::exact_copy(stream_.input.view());
  stash.swap(stream_.input);
  shard_.buffers().give(stash);
}

// The last answer is sent, but the peer may still be sending: closing now would make the kernel
// answer with a reset, which can destroy what we sent before the peer has read it. So only our half
// is closed, and the rest is read away.
void Connection::linger() {
  state_ = State::kLingering;
  ::shutdown(fd_.get(), SHUT_WR);
  stream_.input.clear();
  release_buffers();
  shard_.loop().timers().arm(*this, limits::kLingerMs);
  discard();
}

void Connection::discard() {
  char bin[4096];
  for (int reads_left = kReadsPerTurn; reads_left > 0; --reads_left) {
    const ssize_t got = ::recv(fd_.get(), bin, sizeof bin, 0);
    if (got > 0 || (got < 0 && errno == EINTR)) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    destroy();
    return;
  }
  shard_.loop().schedule(*this);
}

// The program's own calls come when they come, and a handler that hangs is its own.
const Timeouts& Connection::timeouts() const {
  static constexpr Timeouts kNone{0, 0, 0, 0, 0};
  return stream_.peer.is_own ? kNone : shard_.options().timeouts;
}

void Connection::arm_timer() {
  const uint64_t next_ms = patience_.next_look_ms(shard_.loop().now_ms(), timeouts(), is_busy());
  if (next_ms != 0) shard_.loop().timers().arm(*this, next_ms);
}

void Connection::note_rest() {
  wire::Framer* framer = stream_.framer.get();
  patience_.note_rest(shard_.loop().now_ms(), stream_.input.size(),
                      framer != nullptr && framer->is_in_body());
}

void Connection::on_timer() {
  if (state_ == State::kLingering) {
    destroy();
    return;
  }
  if (awaits_quiet_) {
    awaits_quiet_ = false;
    arm_timer();
    shard_.lend_output(stream_);
    (void)shard_.dispatcher().run_bare_command(stream_);
    turn();
    return;
  }
  give_up_on_peer();
}

// Activity does not touch the timer, which would cost something for each request; it is armed anew
// when it fires.
void Connection::give_up_on_peer() {
  const Overdue overdue = patience_.overdue(shard_.loop().now_ms(), timeouts(), is_busy(),
                                            patience_.is_blocked() ? queued_bytes() : 0);
  switch (overdue) {
    case Overdue::kNothing:
      arm_timer();
      return;
    case Overdue::kIdle:
      destroy();
      return;
    case Overdue::kWrite:
      abort();
      return;
    case Overdue::kHead:
    case Overdue::kBody:
      shard_.lend_output(stream_);
      shard_.dispatcher().time_out(stream_, overdue == Overdue::kBody);
      turn();
      return;
  }
}

void Connection::on_batch_done(Batch& batch) {
  patience_.note_activity(shard_.loop().now_ms());
  if (state_ != State::kClosed) shard_.lend_output(stream_);
  shard_.dispatcher().take_back(stream_, batch);
  go_on();
}

void Connection::on_deferred_done(std::unique_ptr<Deferred> deferred) {
  patience_.note_activity(shard_.loop().now_ms());
  if (state_ != State::kClosed) shard_.lend_output(stream_);
  shard_.dispatcher().take_deferred(stream_, std::move(deferred));
  go_on();
}

void Connection::on_piece(Piece& piece) {
  patience_.note_activity(shard_.loop().now_ms());
  if (state_ == State::kClosed) {
    piece.channel()->close();
    return;
  }
  shard_.dispatcher().take_piece(stream_, piece);
  turn();
}

// Something of it is back.
void Connection::go_on() {
  if (state_ != State::kClosed) {
    turn();
  } else {
    forget_if_back();
  }
}

void Connection::forget_if_back() {
  if (!is_busy()) shard_.forget(*this);
}

void Connection::on_command_done(std::string_view reply) {
  stream_.is_away = false;
  if (state_ == State::kClosed) {
    forget_if_back();
    return;
  }
  shard_.lend_output(stream_);
  stream_.output.append(reply);
  turn();
}

void Connection::visit_streams(const std::function<void(const Stream&)>& visit) {
  shard_.visit_streams(visit);
}

void Connection::on_hold_over(bool has_waited_in_vain) {
  patience_.note_activity(shard_.loop().now_ms());
  shard_.lend_output(stream_);
  shard_.dispatcher().end_hold(stream_, has_waited_in_vain);
  turn();
}

void Connection::drain() {
  stream_.is_draining = true;
  if (state_ != State::kServing || stream_.is_away) return;
  is_readable_ = true;  // what has arrived by now is in flight
  turn();
}

void Connection::destroy() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  stream_.closes = true;  // what is parked behind a batch is not run for a peer that is gone
  shard_.loop().remove(fd_.get(), *this);
  shard_.loop().timers().disarm(*this);
  // A child that a handler has forked holds the descriptor too: for the peer, close alone would not
  // be the end.
  ::shutdown(fd_.get(), SHUT_RDWR);
  fd_.reset();
  if (stream_.pieces != nullptr) stream_.pieces->close();
  stream_.early_pieces.reset();
  stream_.output.clear();  // its files are not kept for what is still away
  shard_.dispatcher().drop(stream_);
  if (reading_ != nullptr) reading_->cancel();
  forget_if_back();
}

}  // namespace hrmr::server
