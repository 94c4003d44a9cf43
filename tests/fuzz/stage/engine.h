// Engine: one shard of the real server on the scripted kernel, with what surrounds it played: the
// worker pools (jobs run when the script says so), the reload thread (publications), the modules.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "generation.h"
#include "kernel.h"
#include "server/shard.h"
#include "work/worker_pool.h"

namespace hrmr::fuzz {

inline constexpr std::string_view kReloadAnswer = "OK reloaded\n";
inline constexpr uint64_t kTimeoutMs = 5000;  // each of them
inline constexpr size_t kBodyBytesMax = 2048;

class Engine final : public server::ShardOwner {
 public:
  Engine(Kernel& kernel, bool has_raw);
  ~Engine();

  void run() { shard_.loop().run(); }
  void accept(Socket& socket, bool is_local);

  // The pools.
  bool submit(work::WorkerPool& pool, work::Job* job);
  void run_job(bool newest);
  bool is_on_worker() const { return is_on_worker_; }
  bool is_full = false;
  bool runs_at_once = false;

  // The reload thread.
  void replace();  // a new generation, which serves
  void remove();   // none
  void rest(modules::RouteMark mark);
  void resume();
  void answer_reload();

  // Everything that is away comes back. False: nothing was.
  bool bring_back();
  // Lets the last generation go, drains and stops. False: that was done before.
  bool wind_up();
  void begin_drain();
  // All that was lent is back.
  void check_rest();

  Shelf shelf;
  bool was_shut_down = false;  // by a client

  // ShardOwner.
  server::Place take_place(const net::Peer& peer) override;
  void give_place(const net::Peer&) override { --places_; }
  void on_drained() override;
  void reload(std::vector<std::string> only, std::function<void(std::string)> done) override;
  void begin_shutdown() override;
  work::WorkerPool& pool(modules::Run where) override;
  void let_go(modules::Module* module) override { drained(module); }  // they have no timers
  void drained(modules::Module* module) override;
  Log& log() override { return log_; }

 private:
  struct Replaced {
    std::unique_ptr<Generation> generation;
    bool is_drained = false;
  };
  void publish(modules::Publication& change, modules::RouteMark mark);
  void forget_drained();
  void run(work::Job* job);

  const bool has_raw_;
  server::Options options_;
  Log log_;
  work::WorkerPool pool_;
  work::WorkerPool python_pool_;
  std::deque<work::Job*> jobs_;
  std::vector<std::function<void(std::string)>> reloads_;
  std::unique_ptr<Generation> current_;
  std::list<Replaced> replaced_;
  uint64_t generations_ = 0;
  bool is_on_worker_ = false;
  bool is_resting_ = false;
  bool is_at_rest_ = false;  // and that was told
  bool is_publishing_ = false;
  bool is_draining_ = false;
  bool is_wound_up_ = false;
  int places_ = 0;
  int drained_count_ = 0;
  server::Shard shard_;
};

}  // namespace hrmr::fuzz
