#include "engine.h"

#include <cstring>
#include <utility>

#include "base/check.h"

namespace hrmr::fuzz {
namespace {

thread_local Engine* current_engine = nullptr;

server::Options options() {
  server::Options options;
  options.timeouts.idle_ms = options.timeouts.head_ms = kTimeoutMs;
  options.timeouts.body_ms = options.timeouts.write_ms = kTimeoutMs;
  options.frame_limits.body_bytes_max = kBodyBytesMax;
  return options;
}

// Never started: submit_quietly is played (below).
work::PoolOptions unused_pool() { return {"unused", 1, 2}; }

}  // namespace

Engine::Engine(Kernel& /*kernel*/, bool has_raw)
    : has_raw_(has_raw),
      options_(options()),
      pool_(unused_pool(), std::make_unique<work::Crew>()),
      python_pool_(unused_pool(), std::make_unique<work::Crew>()),
      shard_(0, options_, *this, log_) {
  current_engine = this;
  HRMR_CHECK(shard_.loop().open().is_ok());
  replace();
}

Engine::~Engine() { current_engine = nullptr; }

void Engine::accept(Socket& socket, bool is_local) {
  net::Peer peer{};
  constexpr std::string_view kName = "127.0.0.1:1";
  std::memcpy(peer.name, kName.data(), kName.size());
  peer.name_size = kName.size();
  peer.is_local = is_local;
  shard_.on_accepted(Fd(socket.fd), peer);
}

// ---- the pools

bool Engine::submit(work::WorkerPool& pool, work::Job* job) {
  HRMR_CHECK(&pool == &pool_ || &pool == &python_pool_);
  if (is_full) return false;
  if (runs_at_once) {
    run(job);
  } else {
    jobs_.push_back(job);
  }
  return true;
}

void Engine::run_job(bool newest) {
  if (jobs_.empty()) return;
  work::Job* job = newest ? jobs_.back() : jobs_.front();
  if (newest) {
    jobs_.pop_back();
  } else {
    jobs_.pop_front();
  }
  run(job);
}

void Engine::run(work::Job* job) {
  is_on_worker_ = true;
  job->run();
  is_on_worker_ = false;
}

work::WorkerPool& Engine::pool(modules::Run where) {
  return where == modules::Run::kPython ? python_pool_ : pool_;
}

// ---- the reload thread

void Engine::publish(modules::Publication& change, modules::RouteMark mark) {
  std::vector<modules::RouteTable::Entry> entries;
  if (current_ != nullptr) entries = current_->entries(mark);
  change.table = modules::RouteTable::build(std::move(entries));
  std::shared_ptr<const modules::RouteTable> table = change.table;
  is_publishing_ = true;
  shard_.publish(change, table);
  is_publishing_ = false;
  table.reset();
  change.table.reset();
  forget_drained();
}

void Engine::replace() {
  modules::Publication change;
  std::unique_ptr<Generation> old = std::move(current_);
  current_ = std::make_unique<Generation>(++generations_, shelf, has_raw_);
  change.started.push_back(&current_->module());
  if (old != nullptr) {
    old->module().arm(1);
    change.retired.push_back(&old->module());
    replaced_.push_back({std::move(old)});
  }
  is_resting_ = is_at_rest_ = false;
  publish(change, modules::RouteMark::kNone);
}

void Engine::remove() {
  if (current_ == nullptr) return;
  modules::Publication change;
  current_->module().arm(1);
  change.retired.push_back(&current_->module());
  replaced_.push_back({std::move(current_)});
  is_resting_ = is_at_rest_ = false;
  publish(change, modules::RouteMark::kNone);
}

void Engine::rest(modules::RouteMark mark) {
  if (current_ == nullptr || is_resting_) return;
  modules::Publication change;
  current_->module().arm(1);
  change.resting.push_back(&current_->module());
  is_resting_ = true;
  publish(change, mark);
}

void Engine::resume() {
  if (!is_resting_) return;
  modules::Publication change;
  change.resumed.push_back(&current_->module());
  is_resting_ = is_at_rest_ = false;
  publish(change, modules::RouteMark::kNone);
}

void Engine::drained(modules::Module* module) {
  if (current_ != nullptr && &current_->module() == module) {
    HRMR_CHECK(is_resting_ && !is_at_rest_);  // once
    is_at_rest_ = true;
    return;
  }
  bool is_known = false;
  for (Replaced& each : replaced_) {
    if (&each.generation->module() != module) continue;
    HRMR_CHECK(!each.is_drained);  // once
    HRMR_CHECK_EQ(module->pins_on(0), 0);
    is_known = each.is_drained = true;
  }
  HRMR_CHECK(is_known);
  // As early as a reload thread could: whoever still uses it now uses what is gone.
  if (!is_publishing_) forget_drained();
}

void Engine::forget_drained() {
  replaced_.remove_if([](const Replaced& each) { return each.is_drained; });
}

void Engine::reload(std::vector<std::string>, std::function<void(std::string)> done) {
  reloads_.push_back(std::move(done));
}

void Engine::answer_reload() {
  if (reloads_.empty()) return;
  const std::function<void(std::string)> done = std::move(reloads_.front());
  reloads_.erase(reloads_.begin());
  done(std::string(kReloadAnswer));
}

// ---- the end

bool Engine::bring_back() {
  const bool was_away =
      is_resting_ || !jobs_.empty() || !shelf.replies.empty() || !reloads_.empty();
  is_full = false;
  resume();
  while (!jobs_.empty()) run_job(false);
  while (!shelf.replies.empty()) shelf.answer(false);
  while (!reloads_.empty()) answer_reload();
  return was_away;
}

void Engine::begin_drain() {
  if (!std::exchange(is_draining_, true)) shard_.begin_drain();
}

void Engine::begin_shutdown() {
  was_shut_down = true;
  begin_drain();
}

bool Engine::wind_up() {
  if (std::exchange(is_wound_up_, true)) return false;
  remove();
  begin_drain();
  shard_.loop().stop();
  return true;
}

void Engine::check_rest() {
  HRMR_CHECK_EQ(drained_count_, 1);
  HRMR_CHECK_EQ(places_, 0);
  HRMR_CHECK(replaced_.empty());  // every pin was released
  HRMR_CHECK(jobs_.empty() && shelf.replies.empty() && reloads_.empty());
  HRMR_CHECK_EQ(shard_.loop().timers().ms_to_next(shard_.loop().now_ms()), -1);
}

server::Place Engine::take_place(const net::Peer&) {
  ++places_;
  return server::Place::kTaken;
}

void Engine::on_drained() { ++drained_count_; }

}  // namespace hrmr::fuzz

// The workers are played: see CMakeLists.txt for the names. They share their thread with the loop.
extern "C" bool __wrap__ZN4hrmr4work10WorkerPool14submit_quietlyEPNS0_3JobE(
    hrmr::work::WorkerPool* pool, hrmr::work::Job* job) {
  return hrmr::fuzz::current_engine->submit(*pool, job);
}

extern "C" bool __real__ZNK4hrmr3net9EventLoop17is_current_threadEv(
    const hrmr::net::EventLoop* loop);
extern "C" bool __wrap__ZNK4hrmr3net9EventLoop17is_current_threadEv(
    const hrmr::net::EventLoop* loop) {
  const hrmr::fuzz::Engine* engine = hrmr::fuzz::current_engine;
  if (engine != nullptr && engine->is_on_worker()) return false;
  return __real__ZNK4hrmr3net9EventLoop17is_current_threadEv(loop);
}
