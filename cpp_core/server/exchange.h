// Exchange: one request with the route that answers it. Batch: consecutive pool requests of one
// connection, which travel to a worker and back together, so that their order is kept and one
// hand-over pays for all.
//
// Lifetime: the views of a request point into the connection's input buffer, which is neither
// consumed further nor read into while its batch is away. Batches belong to their shard and are
// used again. Threads: filled and taken back on the loop; run() on a worker in between.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
#include "base/log.h"
#include "base/output.h"
#include "modules/module.h"
#include "net/event_loop.h"
#include "server/options.h"
#include "wire/reply_writer.h"
#include "wire/request.h"
#include "work/worker_pool.h"

struct hrmr_reply;

namespace hrmr::server {

inline constexpr size_t kHttpDateBytes = 29;

struct Exchange {
  wire::Request request;
  const modules::Route* route = nullptr;
  size_t prefix_bytes = 0;  // of the request, that the route's prefix stands for
  const wire::Header* headers = nullptr;
  size_t header_count = 0;
};

class BatchOwner;

// One call of a route's function: for which request, on whose behalf.
struct Call {
  const Exchange& exchange;
  wire::ReplyFacts facts;
  std::string_view peer;
  net::EventLoop& loop;  // of the connection
  BatchOwner& owner;     // gets the reply if the function defers it
  Log& log;
  const Options& options;
  std::vector<wire::Text>& arguments;  // scratch of the thread: a command's are put there
  bool may_move = false;  // on the loop: the function may ask to be called on the pool instead
};

// kDeferred: there is no reply yet. It may be on its way to the loop by now, even completed.
// kForPool: there is none, and the function is to be called again, on the pool.
enum class Answered : uint8_t { kStaysOpen, kCloses, kAborts, kDeferred, kForPool };

// Whether it is a command's reply whose value is not complete, or of which the host has refused a
// part; `refusal` then says why.
bool lacks_value(hrmr_reply& reply);

// Of a request that no route takes: enough of it to recognise it by, and nothing that hurts a
// terminal.
std::string shown(std::string_view bytes);

// "wrong number of arguments for 'kv.get' command"
std::string wrong_arity_text(std::string_view command);

// Calls the function and completes the reply, whatever the function did. The reply is appended to
// `out`; a failure that the function did not word itself is logged. Any thread that may run the
// function.
Answered answer(const Call& call, Output& out);

// Makes it an error reply that says which call the host has refused, and logs it.
void fail_reply(hrmr_reply& reply, const modules::Route& route, Log& log);

// What a reply needs to know of its request and of the server. `date`: see ReplyFacts.
wire::ReplyFacts facts_of(const wire::Request& request, const Options& options,
                          std::string_view date);

class Batch;
class Deferred;
class Piece;

// Who gets a batch back, and what its functions or one called inline has deferred: the two in
// either order. On the loop's thread.
class BatchOwner {
 public:
  virtual void on_batch_done(Batch& batch) = 0;
  virtual void on_deferred_done(std::unique_ptr<Deferred> deferred) = 0;
  // A piece of the reply of one of those, before it comes itself.
  virtual void on_piece(Piece& piece) = 0;

 protected:
  ~BatchOwner() = default;
};

class Batch final : public work::Job, public net::Letter {
 public:
  Batch(net::EventLoop& loop, Log& log, const Options& options)
      : loop_(loop), log_(log), options_(options) {}

  void begin(BatchOwner& owner, modules::Run where, std::string_view peer, std::string_view date);
  // Copies the headers, which live in the loop's scratch table.
  void add(const Exchange& exchange);
  // Keeps one more exchange, which the worker leaves alone: the request behind the batch that has
  // to wait for it.
  void park(const Exchange& exchange);
  const Exchange& parked();
  bool is_empty() const { return count_ == 0; }
  modules::Run where() const { return where_; }
  size_t count() const { return count_; }
  const Exchange& at(size_t index) const { return exchanges_[index]; }

  // After it is back: requests that nobody has answered, because its replies grew large or one was
  // deferred, or that are parked. Their routes are matched again, by then the table may be another.
  bool has_left() const { return next_ < count_ || has_parked_; }
  // The first of them, which then is no longer left; it lives as long as the batch is not cleared.
  const Exchange& take_left();
  // What was taken last is the first that is left again.
  void put_back();
  // The batch whose left requests come behind those of this one.
  void rest_before(Batch* behind) { behind_ = behind; }
  Batch* behind() const { return behind_; }
  // The reply of the last request that began was deferred.
  bool is_deferred() const { return is_deferred_; }
  size_t next() const { return next_; }
  // After it is back: the replies in order, and whether the connection closes behind them.
  Output& output() { return output_; }
  bool closes() const { return closes_; }
  bool aborts() const { return aborts_; }  // it closes in the middle of a reply
  // Forgets the requests; keeps memory of ordinary size.
  void clear();

  void run() override;                                           // on a worker
  void on_delivery() override { owner_->on_batch_done(*this); }  // on the loop

 private:
  net::EventLoop& loop_;
  Log& log_;
  const Options& options_;
  BatchOwner* owner_ = nullptr;
  modules::Run where_ = modules::Run::kPool;
  std::string_view peer_;
  char date_[kHttpDateBytes] = {};
  size_t count_ = 0;
  size_t next_ = 0;  // to be answered
  std::array<Exchange, limits::kBatchRequests> exchanges_;
  std::vector<wire::Header> headers_;
  Exchange parked_;
  bool has_parked_ = false;
  bool has_taken_parked_ = false;
  Batch* behind_ = nullptr;
  std::vector<wire::Text> arguments_;  // of the command that runs
  Output output_;
  bool closes_ = false;
  bool aborts_ = false;
  bool is_deferred_ = false;
};

}  // namespace hrmr::server
