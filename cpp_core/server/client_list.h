// ClientList: what CLIENT LIST answers, of the connections of all loops.
//
// A connection is looked at on its own loop only. So the loop that is asked describes its own, and
// sends each other loop a letter, which comes back with the descriptions of that loop's. The answer
// is made when all are back, or after limits::kClientListWaitMs of what is: a loop that is stuck in
// an inline handler is left out, and named in the log. What comes back later is dropped.
//
// Lifetime: its own; it ends when the last letter is back or was not delivered. Meanwhile the
// stream is away until it is answered.
// Threads: the loop's that was asked, but for `look`, which is that of the loop that is looked at.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "net/event_loop.h"
#include "net/timer_wheel.h"
#include "server/stream.h"
#include "wire/reply_writer.h"

namespace hrmr::server {

class Dispatcher;
class Shard;
struct BuiltInCall;

// Which connections are asked for.
struct ClientFilter {
  bool takes(uint64_t id) const;

  bool is_all = false;
  std::vector<int64_t> ids;  // ascending; the others are not
};

// Appends what Redis' CLIENT INFO and CLIENT LIST tell of a connection, its line feed included.
void describe_client(const Stream& stream, uint64_t now_ms, std::string& text);

class ClientLines {
 public:
  // The program's own connections (Server::adopt) are no clients.
  // More than `bytes_max` cannot be answered: then nothing more is added.
  explicit ClientLines(size_t bytes_max) : bytes_max_(bytes_max) {}

  void add(const Stream& stream, uint64_t now_ms);
  void take_all(ClientLines& other);
  // As the value of the reply, by ascending id; or an error that says that they are too many.
  void write(wire::ReplyWriter& reply, wire::ValueForm form);

 private:
  struct Line {
    uint64_t id;
    std::string text;
  };

  size_t bytes_max_;
  size_t bytes_ = 0;
  std::vector<Line> lines_;
};

class ClientList final : public net::Timer {
 public:
  // Answers at once when there is one loop only. Otherwise the stream is away then.
  static void answer(BuiltInCall& call, ClientFilter filter);

  void on_timer() override;

 private:
  struct Visit final : net::Letter {
    explicit Visit(size_t bytes_max) : lines(bytes_max) {}
    void on_delivery() override;
    void on_undelivered() override { list->let_go(); }

    ClientList* list = nullptr;
    Shard* shard = nullptr;
    ClientLines lines;
    bool has_looked = false;  // it is on its way back
    bool is_back = false;     // written by the loop that was asked
  };

  ClientList(const BuiltInCall& call, ClientFilter filter);
  ~ClientList() = default;
  void look(Visit& visit) const;
  void take_back(Visit& visit);
  void let_go();
  void finish();

  const ClientFilter filter_;
  const wire::ReplyFacts facts_;
  StreamOwner& owner_;
  net::EventLoop& loop_;
  Dispatcher& dispatcher_;
  ClientLines lines_;
  std::vector<Visit> visits_;  // does not grow: letters stand still
  size_t visits_left_ = 0;     // that are not back
  // Answered. Other loops read it to save themselves the work; it orders nothing.
  std::atomic<bool> is_over_{false};
};

}  // namespace hrmr::server
