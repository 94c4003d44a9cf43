#include "server/server.h"

#include <fcntl.h>
#include <sys/eventfd.h>

#include <chrono>
#include <functional>
#include <future>
#include <utility>

#include "base/clock.h"
#include "server/host_table.h"

namespace hrmr::server {
namespace {

// Beyond the drain timeout: what the pools get to finish a handler whose connection is closed.
constexpr uint64_t kStopSlackMs = 500;

// Runs something on each loop and waits until all have done it.
class Round {
 public:
  using Work = std::function<void(Shard& shard)>;

  static void make(const std::vector<std::unique_ptr<Shard>>& shards, const Work& work) {
    Round round(work, shards.size());
    std::vector<Stop> stops(shards.size());
    for (size_t i = 0; i < shards.size(); ++i) {
      stops[i].round = &round;
      stops[i].shard = shards[i].get();
      shards[i]->loop().post(stops[i]);
    }
    std::unique_lock lock(round.mutex_);
    round.done_.wait(lock, [&] { return round.left_ == 0; });
  }

 private:
  struct Stop final : net::Letter {
    void on_delivery() override {
      round->work_(*shard);
      const std::lock_guard lock(round->mutex_);
      if (--round->left_ == 0) round->done_.notify_one();
    }
    Round* round = nullptr;
    Shard* shard = nullptr;
  };

  Round(const Work& work, size_t shards) : work_(work), left_(shards) {}

  const Work& work_;
  std::mutex mutex_;
  std::condition_variable done_;
  size_t left_;
};

// A reload thread that is stopping lets the promise go without a value.
template <class T>
T value_or(std::future<T> result, T otherwise) {
  try {
    return result.get();
  } catch (const std::future_error&) {
    return otherwise;
  }
}

}  // namespace

Server::Server(Options options, std::vector<std::unique_ptr<modules::Loader>> loaders,
               std::unique_ptr<work::Crew> python_crew)
    : options_(std::move(options)),
      native_loader_(host_table(), log_),
      loaders_(std::move(loaders)),
      long_call_(log_, options_.long_call_ms, options_.long_call_again_ms),
      addresses_(options_.connections_per_address_max) {
  options_.registry.loops = options_.loops;
  std::vector<modules::Loader*> all = {&native_loader_};
  for (const auto& loader : loaders_) all.push_back(loader.get());
  if (options_.watch) make_watch(all);
  registry_ =
      std::make_unique<modules::ModuleRegistry>(options_.registry, std::move(all), *this, log_);
  reload_thread_ = std::make_unique<modules::ReloadThread>(*registry_, log_);
  pool_ = std::make_unique<work::WorkerPool>(
      work::PoolOptions{"hrmr-pool", options_.threads, options_.queue_slots},
      std::make_unique<work::Crew>());
  if (python_crew != nullptr) {
    python_pool_ = std::make_unique<work::WorkerPool>(
        work::PoolOptions{"hrmr-py", options_.python_threads, options_.queue_slots},
        std::move(python_crew));
  }
  for (unsigned i = 0; i < options_.loops; ++i) {
    shards_.push_back(std::make_unique<Shard>(i, options_, *this, log_));
  }
}

Server::~Server() = default;

void Server::make_watch(const std::vector<modules::Loader*>& loaders) {
  modules::WatchOptions options;
  options.places = options_.registry.places;
  options.poll_ms = options_.watch_poll_ms;
  for (const modules::Loader* loader : loaders) {
    if (!loader->suffix().empty()) options.suffixes.emplace_back(loader->suffix());
  }
  watch_ =
      std::make_unique<Watch>(std::move(options), log_,
                              [this](const modules::ReloadReport& report) { on_reloaded(report); });
}

Status Server::start(modules::ReloadReport& loaded) {
  stopped_fd_ = Fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!stopped_fd_.is_open()) return errno_status("make", "an eventfd");
  // The port first: when it is taken, nothing else has happened yet.
  std::vector<Fd> listening;
  const Status opened = open_sockets(listening);
  if (!opened.is_ok()) {
    unix_socket_.close();
    return opened;
  }
  started_ms_ = monotonic_ms();
  if (options_.crash_report) crash_signals_.emplace();
  const Status started = start_threads();
  if (!started.is_ok()) {
    stop_threads();
    return started;
  }
  long_call_.start(shards_[0]->loop());
  // Before the first scan, so that no change falls between the two.
  if (watch_ != nullptr) watch_->begin(*reload_thread_, shards_[0]->loop());
  loaded = reload(std::vector<std::string>{});
  // All of them before anybody is told that we listen.
  Round::make(shards_, [&](Shard& shard) {
    for (size_t i = shard.loop().index(); i < listening.size(); i += shards_.size()) {
      shard.listen(std::move(listening[i]));
    }
  });
  return Status::ok();
}

// One of each kind for each loop, kind by kind.
Status Server::open_sockets(std::vector<Fd>& listening) {
  net::Address address{options_.host, options_.port, options_.loops > 1};
  for (unsigned i = 0; options_.tcp && i < options_.loops; ++i) {
    Result<Fd> opened = net::open_listening_socket(address, i == 0);
    if (!opened.is_ok()) return opened.status();
    listening.push_back(opened.take());
    port_ = address.port = net::bound_port(listening.back().get());
  }
  if (options_.unix_path.empty()) return Status::ok();
  Result<net::UnixSocket> opened = net::UnixSocket::open(options_.unix_path, options_.unix_mode);
  if (!opened.is_ok()) return opened.status();
  unix_socket_ = opened.take();
  for (unsigned i = 0; i < options_.loops; ++i) {
    Result<Fd> shared = unix_socket_.share();
    if (!shared.is_ok()) return shared.status();
    listening.push_back(shared.take());
  }
  return Status::ok();
}

Status Server::start_threads() {
  {
    const std::lock_guard lock(mutex_);
    state_ = State::kServing;
    shards_left_ = shards_.size();
  }
  for (const auto& shard : shards_) {
    const Status started = shard->start();
    if (!started.is_ok()) return started;
  }
  const Status pool_started = pool_->start();
  if (!pool_started.is_ok()) return pool_started;
  if (python_pool_ != nullptr) {
    const Status python_started = python_pool_->start();
    if (!python_started.is_ok()) return python_started;
  }
  return reload_thread_->start();
}

// Also the way back from a start that failed half-way. The pools have stopped, or never ran.
void Server::stop_threads() {
  {
    const std::lock_guard lock(mutex_);
    unix_socket_.close();
  }
  reload_thread_->stop();
  const uint64_t at_once_ms = monotonic_ms() + kStopSlackMs;
  (void)pool_->stop(at_once_ms);
  if (python_pool_ != nullptr) (void)python_pool_->stop(at_once_ms);
  long_call_.close();
  for (const auto& shard : shards_) shard->stop();
  if (watch_ != nullptr) watch_->close();
  registry_->unload_all();
  crash_signals_.reset();
  log_.close();
  const std::lock_guard lock(mutex_);
  loaded_.clear();
  state_ = State::kStopped;
}

modules::ReloadReport Server::reload(std::vector<std::string> only) {
  auto promise = std::make_shared<std::promise<modules::ReloadReport>>();
  std::future<modules::ReloadReport> result = promise->get_future();
  auto done = [this, promise = std::move(promise)](const modules::ReloadReport& report) {
    on_reloaded(report);
    promise->set_value(report);
  };
  reload_thread_->reload(std::move(only), std::move(done));
  return value_or(std::move(result), modules::ReloadReport());
}

void Server::reload(std::vector<std::string> only, std::function<void(std::string)> done) {
  reload_thread_->reload(std::move(only),
                         [this, done = std::move(done)](const modules::ReloadReport& report) {
                           on_reloaded(report);
                           done(modules::to_text(report));
                         });
}

void Server::request_reload() {
  // Nobody waits for the answer: its last line, which has the sums, says that it was done.
  reload({}, [this](std::string text) {
    text.pop_back();
    log_.info("reload", text.substr(text.rfind('\n') + 1));
  });
}

void Server::announce_inline_module(const std::string& name, modules::Loader& loader,
                                    uint64_t revision) {
  reload_thread_->run(
      [this, name, &loader, revision] { registry_->set_inline_module(name, loader, revision); });
}

// From what was noted, because the reload thread may be inside a load that takes its time.
std::vector<modules::ModuleInfo> Server::modules() {
  const std::lock_guard lock(mutex_);
  return loaded_;
}

// On the reload thread. Not once the reload is done: it may wait for old requests meanwhile.
void Server::note_loaded() {
  std::vector<modules::ModuleInfo> loaded = registry_->loaded();
  const std::lock_guard lock(mutex_);
  loaded_ = std::move(loaded);
}

// On the reload thread, before who asked for the reload is told.
void Server::on_reloaded(const modules::ReloadReport& report) {
  for (const modules::Outcome& outcome : report.outcomes) {
    if (outcome.change == modules::Change::kUnchanged) continue;
    const bool is_failure = outcome.change == modules::Change::kFailed;
    log_.write(is_failure ? LogLevel::kError : LogLevel::kInfo, "reload",
               modules::to_text(outcome));
  }
}

Result<bool> Server::adopt(int fd) {
  Fd served(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!served.is_open() || ::fcntl(served.get(), F_SETFL, O_NONBLOCK) != 0) {
    return errno_status("use", "a socket");
  }
  net::Peer peer = net::unix_peer_of(served.get());
  peer.is_own = true;
  // Locked, so that no loop gets it before the word to drain that was said before.
  const std::lock_guard lock(mutex_);
  const bool is_draining = state_ == State::kDraining && monotonic_ms() < drain_deadline_ms_;
  for (size_t i = 0; i < shards_.size() && (is_draining || state_ == State::kServing); ++i) {
    Shard& shard = *shards_[adopted_++ % shards_.size()];
    if (shard.has_drained()) continue;
    shard.adopt(std::move(served), peer);
    return !is_draining;
  }
  return Status::error("the server is not running");
}

void Server::begin_shutdown() {
  {
    const std::lock_guard lock(mutex_);
    if (state_ != State::kServing) return;
    state_ = State::kDraining;
    drain_deadline_ms_ = monotonic_ms() + options_.drain_timeout_ms;
    // Its place is free at once for a server that comes after us.
    unix_socket_.close();
  }
  if (watch_ != nullptr) watch_->end();
  for (const auto& shard : shards_) shard->begin_drain();
}

void Server::on_drained() {
  const std::lock_guard lock(mutex_);
  if (--shards_left_ != 0) return;
  drained_.notify_all();
  const uint64_t one = 1;
  (void)!::write(stopped_fd_.get(), &one, sizeof one);
}

bool Server::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::kNew) log_.close();
    if (state_ == State::kNew || state_ == State::kStopped) return true;
  }
  begin_shutdown();
  {
    std::unique_lock lock(mutex_);
    // A loop that is stuck in an inline handler never says that it has drained.
    const std::chrono::milliseconds bound(drain_left_ms() + kStopSlackMs);
    if (!drained_.wait_for(lock, bound, [this] { return shards_left_ == 0; })) return false;
  }
  // The connections are done or given up. A handler that runs on regardless keeps its pool.
  const uint64_t deadline_ms = monotonic_ms() + kStopSlackMs;
  bool have_ended = pool_->stop(deadline_ms);
  if (python_pool_ != nullptr) have_ended = python_pool_->stop(deadline_ms) && have_ended;
  if (!have_ended || !can_end_reloads()) return false;
  stop_threads();
  return true;
}

uint64_t Server::drain_left_ms() const {
  const uint64_t now_ms = monotonic_ms();
  return drain_deadline_ms_ > now_ms ? drain_deadline_ms_ - now_ms : 0;
}

// A load or an unload is the module's code, and may never end: a join would wait for it without a
// bound. So the reload thread is asked first whether it still comes to what it is asked.
bool Server::can_end_reloads() {
  reload_thread_->end_waits();
  auto reached = std::make_shared<std::promise<void>>();
  const std::future<void> result = reached->get_future();
  reload_thread_->run([reached] { reached->set_value(); });
  const std::chrono::milliseconds bound(drain_left_ms() + kStopSlackMs);
  return result.wait_for(bound) == std::future_status::ready;
}

work::WorkerPool& Server::pool(modules::Run where) {
  return where == modules::Run::kPython ? *python_pool_ : *pool_;
}

void Server::let_go(modules::Module* module) {
  if (module->timers().empty()) return drained(module);
  shards_[0]->end_timers(*module);
}

void Server::drained(modules::Module* module) { reload_thread_->drained(module); }

ServerFacts Server::server_facts() {
  ServerFacts facts;
  facts.port = port_;
  facts.uptime_s = (monotonic_ms() - started_ms_) / 1000;
  facts.connections = connections_.load(std::memory_order_relaxed);
  facts.connections_total = connections_total_.load(std::memory_order_relaxed);
  facts.connections_refused = connections_refused_.load(std::memory_order_relaxed);
  for (const auto& shard : shards_) facts.requests += shard->dispatcher().requests();
  return facts;
}

uint64_t Server::next_connection_id() {
  return connections_total_.fetch_add(1, std::memory_order_relaxed) + 1;
}

Place Server::take_place(const net::Peer& peer) {
  if (peer.is_own) return Place::kTaken;
  Place place = Place::kServerFull;
  if (connections_.fetch_add(1, std::memory_order_relaxed) < options_.connections_max) {
    place = addresses_.take_place(peer.network) ? Place::kTaken : Place::kAddressFull;
  }
  if (place == Place::kTaken) return place;
  connections_.fetch_sub(1, std::memory_order_relaxed);
  connections_refused_.fetch_add(1, std::memory_order_relaxed);
  return place;
}

void Server::give_place(const net::Peer& peer) {
  if (peer.is_own) return;
  addresses_.give_place(peer.network);
  connections_.fetch_sub(1, std::memory_order_relaxed);
}

void Server::publish(const modules::Publication& change) {
  note_loaded();
  // Each loop gives its old table back, so that the thread that publishes pays for freeing it.
  std::vector<std::shared_ptr<const modules::RouteTable>> tables(shards_.size(), change.table);
  Round::make(shards_, [&](Shard& shard) { shard.publish(change, tables[shard.loop().index()]); });
}

bool Server::wait_drained(modules::Module& module, uint64_t deadline_ms) {
  return reload_thread_->wait_drained(&module, deadline_ms);
}

void Server::forget_drained(modules::Module& module) { reload_thread_->forget_drained(&module); }

modules::InUse Server::count_use(modules::Module& module) {
  std::atomic<size_t> requests{0};
  std::atomic<size_t> timers{0};
  Round::make(shards_, [&](Shard& shard) {
    const unsigned loop = shard.loop().index();
    requests += module.pins_on(loop);
    if (loop == 0) timers += module.running_timers();
  });
  return {requests, module.deferred(), timers};
}

}  // namespace hrmr::server
