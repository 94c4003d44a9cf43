// Server: one TCP port or Unix socket or both, its shards, pools, modules and the reload thread,
// put together.
//
// start -> serves -> begin_shutdown (RELOAD's sibling SHUTDOWN, a signal, the embedding program) ->
// drained: stopped_fd becomes readable -> stop, which joins everything.
//
// Threads: start, stop from one; reload, adopt, begin_shutdown, announce_inline_module from any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/crash_signals.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/status.h"
#include "modules/native_loader.h"
#include "modules/registry.h"
#include "modules/reload_thread.h"
#include "net/address_table.h"
#include "net/unix_socket.h"
#include "server/long_call.h"
#include "server/options.h"
#include "server/shard.h"
#include "server/watch.h"
#include "work/worker_pool.h"

namespace hrmr::server {

class Server final : public ShardOwner, public modules::Publisher {
 public:
  // `loaders` besides the native one, and the crew of the threads that run Route::run == kPython;
  // both from bind, null and empty without Python.
  Server(Options options, std::vector<std::unique_ptr<modules::Loader>> loaders,
         std::unique_ptr<work::Crew> python_crew);
  ~Server();  // stop() has returned true, or start() was never called

  // Binds, loads all modules (one that fails is in the log and does not keep the others from
  // serving), listens. On error nothing is left running. `loaded`: what became of each module.
  Status start(modules::ReloadReport& loaded);
  uint16_t port() const { return port_; }  // 0 without TCP

  // Waits for the result. Not from a loop or the reload thread.
  modules::ReloadReport reload(std::vector<std::string> only);
  // Does not wait; the result goes to the log.
  void request_reload();
  // Serves a stream socket of this process as if a client on this machine had connected: for calls
  // of the program itself. It is duplicated, and made non-blocking. Not counted as a connection, no
  // timeout is for it, and it is closed when the server drains. False: the server drains already,
  // and waits for this one too, until the program closes its end. An error when nothing serves.
  Result<bool> adopt(int fd);
  void begin_shutdown() override;
  // Readable once the server has stopped serving.
  int stopped_fd() const { return stopped_fd_.get(); }
  // Drains within the bound and joins all threads. False: a handler or a load still runs past it;
  // the server must not be destroyed before a later call has returned true.
  bool stop();

  // Announces a module without a file; it is loaded at the next reload, which start() does too.
  void announce_inline_module(const std::string& name, modules::Loader& loader, uint64_t revision);
  // What was published last, by name. Any thread; waits for nothing.
  std::vector<modules::ModuleInfo> modules() override;
  Log& log() override { return log_; }
  bool is_reload_thread() const { return reload_thread_->is_current_thread(); }

  // Control, ShardOwner, Publisher: for the rooms below.
  void reload(std::vector<std::string> only, std::function<void(std::string)> done) override;
  work::WorkerPool& pool(modules::Run where) override;
  void let_go(modules::Module* module) override;
  void drained(modules::Module* module) override;
  ServerFacts server_facts() override;
  std::span<const std::unique_ptr<Shard>> shards() override { return shards_; }
  uint64_t next_connection_id() override;
  Place take_place(const net::Peer& peer) override;
  void give_place(const net::Peer& peer) override;
  void on_drained() override;
  void publish(const modules::Publication& change) override;
  bool wait_drained(modules::Module& module, uint64_t deadline_ms) override;
  void forget_drained(modules::Module& module) override;
  modules::InUse count_use(modules::Module& module) override;
  void call_begins(const modules::ModuleCall& call) override { long_call_.begin_call(call); }
  void call_ends() override { long_call_.end_call(); }

 private:
  enum class State : uint8_t { kNew, kServing, kDraining, kStopped };

  void make_watch(const std::vector<modules::Loader*>& loaders);
  Status open_sockets(std::vector<Fd>& listening);
  Status start_threads();
  void stop_threads();
  uint64_t drain_left_ms() const;
  bool can_end_reloads();
  void note_loaded();
  void on_reloaded(const modules::ReloadReport& report);

  Options options_;
  Log log_;
  modules::NativeLoader native_loader_;
  std::vector<std::unique_ptr<modules::Loader>> loaders_;
  LongCall long_call_;
  std::unique_ptr<modules::ModuleRegistry> registry_;
  std::unique_ptr<modules::ReloadThread> reload_thread_;
  std::unique_ptr<work::WorkerPool> pool_;
  std::unique_ptr<work::WorkerPool> python_pool_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::optional<CrashSignals> crash_signals_;  // while it runs
  std::unique_ptr<Watch> watch_;               // null: RELOAD only
  std::atomic<size_t> connections_{0};
  net::AddressTable addresses_;
  std::atomic<uint64_t> connections_total_{0};
  std::atomic<uint64_t> connections_refused_{0};
  size_t adopted_ = 0;
  uint64_t started_ms_ = 0;
  uint16_t port_ = 0;
  net::UnixSocket unix_socket_;
  Fd stopped_fd_;
  std::mutex mutex_;
  std::condition_variable drained_;
  size_t shards_left_ = 0;  // that have not drained
  std::vector<modules::ModuleInfo> loaded_;
  State state_ = State::kNew;
  uint64_t drain_deadline_ms_ = 0;
};

}  // namespace hrmr::server
