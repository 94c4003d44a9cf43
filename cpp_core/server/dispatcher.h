// Dispatcher: from the bytes of a stream to the function that answers them (DESIGN section 2), in
// order.
//
// Pool requests that follow each other are gathered in one batch. Whatever else comes behind an
// open batch (an inline request, an error, a command) is parked with it. What a batch leaves over
// when it is back, parked or not begun, is handled before more of the input, as if it had just
// come.
//
// Threads: one per shard, on its loop.
#pragma once

#include <atomic>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "modules/route_table.h"
#include "server/admin.h"
#include "server/held_streams.h"
#include "server/options.h"
#include "server/stream.h"
#include "work/worker_pool.h"

namespace hrmr::server {

class Shard;
struct BuiltIn;

// What INFO tells.
struct ServerFacts {
  uint16_t port = 0;
  uint64_t uptime_s = 0;
  size_t connections = 0;
  uint64_t connections_total = 0;
  uint64_t requests = 0;
  uint64_t connections_refused = 0;
};

// What the built-in commands and the batches need of the server.
class Control {
 public:
  // `done` runs on the reload thread, once, with the text that the client gets.
  virtual void reload(std::vector<std::string> only, std::function<void(std::string)> done) = 0;
  virtual void begin_shutdown() = 0;
  virtual work::WorkerPool& pool(modules::Run where) = 0;
  // All loops have let go of it (Module::unpin). Its timers end, and then it has drained.
  virtual void let_go(modules::Module* module) = 0;
  virtual void drained(modules::Module* module) = 0;
  virtual Log& log() = 0;
  virtual ServerFacts server_facts() { return {}; }
  // What serves now, by name.
  virtual std::vector<modules::ModuleInfo> modules() { return {}; }
  // Those of all loops, as long as one of them runs.
  virtual std::span<const std::unique_ptr<Shard>> shards() { return {}; }

 protected:
  ~Control() = default;
};

enum class Step : uint8_t {
  kDone,         // one request was answered or put into the batch; ask again
  kNeedMore,     // no complete request in the input
  kBareCommand,  // as kNeedMore, and the input is a built-in word without its newline
  kAway,         // a batch or a command is under way; ask again when the owner is told
  kClosing,      // stream.closes is set
  kForeign,      // not a protocol of ours: close without a word
};

enum class Authenticated : uint8_t {
  kGranted,
  kNoTokenSet,      // the server has no admin token
  kWrong,           // may try again
  kWrongAndCloses,  // once too often: answer, then close
};

class Dispatcher {
 public:
  Dispatcher(const Options& options, net::EventLoop& loop, Control& control);
  ~Dispatcher();

  void swap_table(std::shared_ptr<const modules::RouteTable>& table) { table_.swap(table); }
  // Behind swap_table: what was held back is looked at again.
  void release_held() { held_.release_all(); }

  // Handles one request. An open batch is sent off before anything but kDone is returned.
  Step next(Stream& stream);
  // Sends the open batch off, if there is one, before all of the input has been looked at.
  void send_open_batch(Stream& stream);
  // Runs a built-in word that came without its newline, after the quiet that says nothing follows.
  Step run_bare_command(Stream& stream);
  // Takes the replies of a batch that came back, perhaps early. The stream goes on behind it,
  // unless it has to wait for a deferred reply.
  void take_back(Stream& stream, Batch& batch);
  // Takes a deferred reply; the stream goes on behind it.
  void take_deferred(Stream& stream, std::unique_ptr<Deferred> deferred);
  // Takes a piece of the reply that is away.
  static void take_piece(Stream& stream, Piece& piece);
  // The held request goes where the table sends it now, or is refused.
  void end_hold(Stream& stream, bool has_waited_in_vain);
  // A job of the connection's own. False: the queue is full, or the pool has stopped.
  bool give_to_pool(work::Job& job);
  // The peer did not send the rest of its request in time: answers that, and closes.
  void time_out(Stream& stream, bool is_body);
  // AUTH: the peer shows the admin token. What was wrong is counted, and told to the log.
  bool has_token() const { return admin_.has_token(); }
  Authenticated authenticate(Stream& stream, std::string_view user, std::string_view token);
  // CLIENT LIST had to leave these out ("1, 2"); the log is told now and then.
  void warn_of_stuck_loops(const std::string& loops);
  // That have come so far, commands or not; one that waits or is matched again counts once. Any
  // thread.
  uint64_t requests() const { return requests_.load(std::memory_order_relaxed); }
  // Forgets the batches that are not away; the stream's connection is closed.
  void drop(Stream& stream);

 private:
  enum class Word : uint8_t { kReload, kClose, kShutdown, kAuth };
  struct Command {
    Word word;
    std::string_view arguments;
  };

  // Makes of the text of a RELOAD what the client gets. On the loop's thread.
  using ReloadWording = std::function<std::string(const std::string& text)>;
  struct AdminAnswer {
    int status;
    std::string body;
    std::string_view header;  // one more; empty: none
    std::string_view value;
  };

  // Batches given to a pool in this turn of the loop, whose workers are still to be woken.
  struct Submitted {
    work::WorkerPool* pool = nullptr;
    size_t jobs = 0;
  };
  // A letter to our own loop: letters come after the turn's events.
  struct TurnEnd final : net::Letter {
    void on_delivery() override;
    Submitted submitted[2];  // of the pool, and of the Python threads
    bool is_posted = false;
  };

  Step take_up(Stream& stream);
  void recycle_resting(Stream& stream);
  Step say_late(Stream& stream);
  Step choose_framing(Stream& stream);
  Step choose_opening(Stream& stream, std::string_view input);
  bool is_still_open(Stream& stream, std::string_view input) const;
  Step frame(Stream& stream);
  void count_request() {
    requests_.store(requests_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  Step need_more(Stream& stream);
  Step route(Stream& stream, const Exchange& exchange);
  modules::RouteMatch match_of(Exchange& exchange) const;
  Step fail_unrouted(Stream& stream, const wire::Request& request);
  bool route_command(Stream& stream, const Exchange& exchange, Step& step);
  modules::RouteMatch find_route(Stream& stream, Exchange& exchange) const;
  bool is_call_of_other_site(const Exchange& exchange) const;
  Step answer_unrouted(Stream& stream, const Exchange& exchange);
  Step refuse_method(Stream& stream, const wire::Request& request);
  Step answer_word(Stream& stream, const wire::Request& line);
  Step run_built_in(Stream& stream, const wire::Request& request, const BuiltIn& built_in);
  Step run_with_arguments(Stream& stream, const wire::Request& request, const BuiltIn& built_in);
  Step run_own_word(Stream& stream, const wire::Request& request, std::string_view name);
  static std::string word_reload(const wire::ReplyFacts& facts, std::string_view text);
  Step shut_down(Stream& stream, const wire::Request& request);
  void say(Stream& stream, const wire::Request& request, std::string_view text);
  Step answer_inline(Stream& stream, const Exchange& exchange);
  Step enqueue(Stream& stream, const Exchange& exchange, modules::Run where);
  Step park(Stream& stream, const Exchange& exchange);
  Step hold(Stream& stream, const Exchange& exchange);
  Step refuse_reloading(Stream& stream, const Exchange& exchange);
  Step send_off(Stream& stream);
  Step submit(Stream& stream, Batch& batch);
  void wake_at_turn_end(work::WorkerPool& pool, modules::Run where);
  void warn_of_overload();
  void go_on(Stream& stream, Batch& batch);
  void refuse_batch(Stream& stream, Batch& batch);
  Step fail(Stream& stream, const wire::Request& request, int status, std::string_view message);
  Step refuse(Stream& stream, std::string_view reply, bool is_silent);
  Step run_command(Stream& stream, const Command& command);
  Step start_reload(Stream& stream, std::string_view names, ReloadWording wording);
  bool may_administer(Stream& stream, const wire::Request& request, std::string_view word);
  Step run_auth(Stream& stream, std::string_view arguments);
  void warn_of_wrong_token(const Stream& stream);
  static bool is_admin_request(const wire::Request& request);
  static std::optional<Word> admin_word(const wire::Request& request);
  bool route_admin(Stream& stream, const Exchange& exchange, const modules::RouteMatch& match,
                   Step& step);
  Step run_admin(Stream& stream, const Exchange& exchange);
  Step reload_over_http(Stream& stream, const wire::Request& request);
  Step answer_admin(Stream& stream, const wire::Request& request, const AdminAnswer& answer);
  static void write_admin_answer(Output& out, wire::ReplyFacts facts, const AdminAnswer& answer);
  static bool parse_command(std::string_view line, Command& command);
  void recycle(Batch& batch);
  void unpin_all(Batch& batch, const Exchange* except);
  void unpin(modules::Module& module);
  Batch& open_batch(Stream& stream, modules::Run where);
  Batch& take_free_batch(Stream& stream, modules::Run where);
  wire::ReplyFacts facts_for(const Stream& stream, const wire::Request& request);
  std::string_view date();

  const Options& options_;
  const Admin admin_;
  net::EventLoop& loop_;
  Control& control_;
  std::shared_ptr<const modules::RouteTable> table_;
  const wire::FrameLimits& frame_limits_;
  const size_t batch_requests_max_;
  wire::HeaderTable headers_;
  std::vector<std::unique_ptr<Batch>> batches_;
  std::vector<Batch*> free_batches_;
  HeldStreams held_;
  TurnEnd turn_end_;
  std::vector<wire::Text> arguments_;  // of the command that runs inline
  std::atomic<uint64_t> requests_{0};  // counted by the loop alone
  uint64_t overload_warned_ms_ = 0;
  uint64_t stuck_warned_ms_ = 0;
  uint64_t wrong_tokens_ = 0;  // since the log was told
  uint64_t wrong_token_warned_ms_ = 0;
  std::time_t date_s_ = 0;
  char date_[kHttpDateBytes] = {};
};

}  // namespace hrmr::server
