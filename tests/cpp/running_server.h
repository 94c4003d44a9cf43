// A whole server over real sockets, without Python, and a client for it; for the tests of the hall.
#pragma once

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/host_table.h"
#include "server/server.h"

namespace hrmr::test {

using modules::Registrations;
using modules::Run;
using server::Server;

// Of this process, the one that counts them included.
inline size_t open_descriptors() {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    static_cast<void>(entry);
    ++count;
  }
  return count;
}

inline hrmr_bytes bytes(std::string_view text) { return {text.data(), text.size()}; }

// Answers with its context, a text, then what followed the prefix.
inline int say(const hrmr_request* request, hrmr_reply* reply, void* context) {
  const hrmr_host& host = server::host_table();
  host.write(reply, bytes(static_cast<const char*>(context)));
  host.write(reply, request->rest);
  return host.write(reply, HRMR_BYTES("\n"));
}

// Defers, sends a first piece of the reply, and drops it.
inline int drop_midway(const hrmr_request*, hrmr_reply* reply, void*) {
  const hrmr_host& host = server::host_table();
  hrmr_reply* deferred = host.defer(reply);
  host.stream(deferred, -1);
  host.write(deferred, HRMR_BYTES("half"));
  host.flush(deferred, 0);
  host.drop(deferred);
  return HRMR_OK;
}

struct Spec {
  const char* prefix;
  Run run;
  hrmr_handler function;
  const void* context;
  modules::RouteFraming framing = modules::RouteFraming::kLine;
  hrmr_command_handler command = nullptr;  // there: `prefix` is its name
  uint32_t arguments_min = 0;
  uint32_t arguments_max = HRMR_ANY_NUMBER;
};

inline Spec command_spec(const char* name, Run run, hrmr_command_handler command,
                         const void* context = nullptr) {
  return {name, run, nullptr, context, modules::RouteFraming::kCommand, command};
}

struct TimerSpec {
  uint32_t interval_ms;
  Run run;
  void (*function)(void* context);
  void* context;
};

// What tests do while a module is reloaded, each may be empty; and its timers.
struct ReloadHooks {
  std::function<std::string()> save;                        // there: the module has a state
  std::function<Status(const std::string& previous)> load;  // "" without a state
  std::function<void()> open;
  std::function<void()> unload;
  std::vector<TimerSpec> timers;
};

class SpecImage final : public modules::Image {
 public:
  SpecImage(std::vector<Spec> specs, ReloadHooks hooks, std::atomic<int>& unloads)
      : specs_(std::move(specs)), hooks_(std::move(hooks)), unloads_(unloads) {}
  bool saves_state() const override { return hooks_.save != nullptr; }
  Result<modules::SavedState> save_state() override {
    return modules::SavedState{0, hooks_.save()};
  }
  Result<Registrations> load(const modules::LoadArguments& arguments) override {
    if (hooks_.load) {
      const bool has_previous = arguments.previous != nullptr;
      const Status allowed = hooks_.load(has_previous ? arguments.previous->bytes : "");
      if (!allowed.is_ok()) return allowed;
    }
    Registrations registered;
    for (const Spec& spec : specs_) {
      auto route = std::make_unique<modules::Route>();
      route->prefix = spec.prefix;
      route->run = spec.run;
      route->function = spec.function;
      route->context = const_cast<void*>(spec.context);
      route->framing = spec.framing;
      route->command = spec.command;
      route->arguments_min = spec.arguments_min;
      route->arguments_max = spec.arguments_max;
      registered.routes.push_back(std::move(route));
    }
    for (const TimerSpec& spec : hooks_.timers) {
      auto timer = std::make_unique<modules::PeriodicTimer>();
      timer->interval_ms = spec.interval_ms;
      timer->run = spec.run;
      timer->function = spec.function;
      timer->context = spec.context;
      registered.timers.push_back(std::move(timer));
    }
    return registered;
  }
  void unload() override {
    if (hooks_.unload) hooks_.unload();
    ++unloads_;
  }
  Status close() override { return Status::ok(); }

 private:
  std::vector<Spec> specs_;
  ReloadHooks hooks_;
  std::atomic<int>& unloads_;
};

class SpecLoader final : public modules::Loader {
 public:
  std::string_view suffix() const override { return {}; }
  Result<std::unique_ptr<modules::Image>> open(const modules::OpenRequest&) override {
    if (hooks.open) hooks.open();
    return std::unique_ptr<modules::Image>(std::make_unique<SpecImage>(specs, hooks, unloads));
  }
  bool is_same_content(const std::string&, const modules::Image&) const override { return false; }

  std::vector<Spec> specs;
  ReloadHooks hooks;
  std::atomic<int> unloads{0};
};

class Client {
 public:
  explicit Client(uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  }

  explicit Client(Fd connected) : fd_(std::move(connected)) {}

  void send(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<size_t>(sent));
    }
  }
  void send_urgent(char byte) { REQUIRE(::send(fd_.get(), &byte, 1, MSG_OOB) == 1); }
  void finish() { ::shutdown(fd_.get(), SHUT_WR); }
  // Is gone without a word: the server's end sees a reset.
  void reset() {
    const linger at_once{1, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    fd_.reset();
  }

  // What recv(2) says, after at most 20 s; allocates nothing.
  ssize_t read_into(char* room, size_t size) {
    pollfd waiting{fd_.get(), POLLIN, 0};
    return ::poll(&waiting, 1, 20'000) == 1 ? ::recv(fd_.get(), room, size, 0) : -1;
  }

  // Waits until an answer has begun to arrive, and reads nothing of it.
  void await_answer() {
    pollfd waiting{fd_.get(), POLLIN, 0};
    REQUIRE(::poll(&waiting, 1, 20'000) == 1);
  }

  // Up to and with the next '\n'; what there is when the peer closes or 20 s have passed.
  std::string line() {
    size_t end = std::string::npos;
    while ((end = read_.find('\n')) == std::string::npos) {
      if (!read_more()) break;
    }
    const size_t size = end == std::string::npos ? read_.size() : end + 1;
    std::string text = read_.substr(0, size);
    read_.erase(0, size);
    return text;
  }
  // Reads that many bytes and drops them.
  bool skip(size_t bytes) {
    while (read_.size() < bytes) {
      if (!read_more()) return false;
    }
    read_.erase(0, bytes);
    return true;
  }
  std::string rest() {
    while (read_more()) {
    }
    return std::exchange(read_, {});
  }

 private:
  bool read_more() {
    pollfd waiting{fd_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, 20'000) != 1) return false;
    char chunk[65536];
    const ssize_t got = ::recv(fd_.get(), chunk, sizeof chunk, 0);
    if (got <= 0) return false;
    read_.append(chunk, static_cast<size_t>(got));
    return true;
  }

  Fd fd_;
  std::string read_;
};

// Threads that handlers start. A module joins its own in unload; here Running does, before the
// loops go.
class HandlerThreads {
 public:
  template <class Function>
  void start(Function function) {
    const std::lock_guard lock(mutex_);
    threads_.emplace_back(std::move(function));
  }
  void join_all() {
    std::unique_lock lock(mutex_);
    std::vector<std::thread> threads = std::move(threads_);
    threads_.clear();
    lock.unlock();
    for (std::thread& thread : threads) thread.join();
  }

 private:
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};
inline HandlerThreads handler_threads;

struct Running {
  explicit Running(std::vector<Spec> specs, server::Options options = {}, ReloadHooks hooks = {}) {
    auto owned = std::make_unique<SpecLoader>();
    loader = owned.get();
    loader->specs = std::move(specs);
    loader->hooks = std::move(hooks);
    std::vector<std::unique_ptr<modules::Loader>> loaders;
    loaders.push_back(std::move(owned));
    // The second pool, Python's in the product; here its crew has nothing to do.
    server = std::make_unique<Server>(options, std::move(loaders), std::make_unique<work::Crew>());
    server->announce_inline_module("spec", *loader, ++revision);
    modules::ReloadReport loaded;
    const Status started = server->start(loaded);
    REQUIRE_MESSAGE(started.is_ok(), started.message());
    REQUIRE_FALSE(loaded.has_failures());
  }
  ~Running() {
    CHECK(server->stop());
    handler_threads.join_all();
  }

  Client client() const { return Client(server->port()); }
  // The program's own; empty: nothing serves.
  Fd connect() const {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    Fd ours(ends[0]);
    const Fd served(ends[1]);
    return server->adopt(served.get()).is_ok() ? std::move(ours) : Fd();
  }
  void reload(std::vector<Spec> specs) {
    loader->specs = std::move(specs);
    CHECK_FALSE(reload().has_failures());
  }
  modules::ReloadReport reload() {
    server->announce_inline_module("spec", *loader, ++revision);
    return server->reload({"spec"});
  }
  // The same without waiting; the future has the outcome.
  std::future<modules::ReloadReport> begin_reload() {
    server->announce_inline_module("spec", *loader, ++revision);
    return std::async(std::launch::async, [this] { return server->reload({"spec"}); });
  }

  // Everything written to the log since the last call, one "source: message" per line.
  std::string take_log() const {
    std::vector<LogRecord> records;
    server->log().wait(records, 0);
    std::string text;
    for (const LogRecord& record : records) text += record.source + ": " + record.message + "\n";
    return text;
  }

  SpecLoader* loader;
  std::unique_ptr<Server> server;
  uint64_t revision = 0;
};

}  // namespace hrmr::test
