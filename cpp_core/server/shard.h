// Shard: one event loop with all that belongs to it alone: its thread, its listener, its
// connections, their buffers, the route table it sees.
//
// Threads: start, stop and join from the thread that owns the server; begin_drain and
// end_timers from any; the rest on the loop's own.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/byte_buffer.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/event_loop.h"
#include "net/listener.h"
#include "net/timer_wheel.h"
#include "server/connection.h"
#include "server/dispatcher.h"
#include "server/module_timers.h"
#include "server/options.h"

namespace hrmr::server {

enum class Place : uint8_t { kTaken, kServerFull, kAddressFull };

// What a shard tells its server.
class ShardOwner : public Control {
 public:
  // 1, 2, ...: one for each connection that was ever accepted. Any loop.
  virtual uint64_t next_connection_id() { return 0; }
  // One more connection may be accepted; give_place when it is gone.
  virtual Place take_place(const net::Peer& peer) = 0;
  virtual void give_place(const net::Peer& peer) = 0;
  // After begin_drain: the listener is closed and no connection is left, or the time was up.
  virtual void on_drained() = 0;

 protected:
  ~ShardOwner() = default;
};

class Shard final : public net::AcceptHandler, public net::Timer {
 public:
  Shard(unsigned index, const Options& options, ShardOwner& owner, Log& log);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  Status start();
  // Serves what is at the other end of `fd`, as if it had been accepted. Any thread.
  void adopt(Fd fd, const net::Peer& peer);
  // Nothing is adopted any more. Any thread.
  bool has_drained() const { return has_drained_.load(std::memory_order_relaxed); }
  // Stops accepting; closes each connection once what it has asked is answered, all of them after
  // the drain timeout. Then on_drained, once.
  void begin_drain();
  // Ends the loop and joins its thread. All batches are back by then.
  void stop();

  // On the loop. Begins to accept; once for each socket.
  void listen(Fd listening);
  // On the loop. Takes `table`, and leaves the old one in its place.
  void publish(const modules::Publication& change,
               std::shared_ptr<const modules::RouteTable>& table);

  // Of the first shard, from any loop. See ModuleTimers::end.
  void end_timers(modules::Module& module);

  net::EventLoop& loop() { return loop_; }
  Dispatcher& dispatcher() { return dispatcher_; }
  BufferPool& buffers() { return buffers_; }
  const Options& options() const { return options_; }

  // Buffers for a stream that has none, or none that is worth a read.
  void lend_input(Stream& stream) {
    if (stream.input.capacity() >= limits::kBufferBytes) return;
    ByteBuffer room = buffers_.take();
    room.append(stream.input.view());  // what was stashed
    stream.input.swap(room);
  }
  void lend_output(Stream& stream) {
    if (stream.output.capacity() == 0) stream.output.lend(buffers_.take());
  }
  uint64_t next_connection_id() { return owner_.next_connection_id(); }
  void visit_streams(const std::function<void(const Stream&)>& visit) const;
  // The connection is closed and nothing of it is away: it is freed at the end of the turn.
  void forget(Connection& connection);

  void on_accepted(Fd fd, const net::Peer& peer) override;
  void on_timer() override;

 private:
  void drain_now();
  void close_all();
  void check_drained();
  void warn_of_refusal(Place place, const net::Peer& peer);

  const Options& options_;
  ShardOwner& owner_;
  Log& log_;
  net::EventLoop loop_;
  BufferPool buffers_;
  Dispatcher dispatcher_;
  ModuleTimers timers_;  // of all modules; on the first loop only
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  Connection* connections_ = nullptr;
  bool is_draining_ = false;
  std::atomic<bool> has_drained_{false};
  uint64_t refused_ = 0;  // connections, since the log was told
  uint64_t refusal_warned_ms_ = 0;
  std::thread thread_;
};

}  // namespace hrmr::server
