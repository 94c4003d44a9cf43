// SPDX-License-Identifier: MIT
//
// HRMR modules in C++: a thin layer on abi.h. C++17 or later; no iostream, no heavy template: it
// compiles in a blink. One file is one module; `hrmr build` makes module_src/hello.cpp
// modules/hello.so.
//
//     #include <hrmr/module.hpp>
//
//     static void hello(const hrmr::Request& request, hrmr::Reply& reply) {
//       reply.write("hello ").write(request.rest()).write("\n");
//     }
//
//     static void load(hrmr::Module& module) {
//       module.route("HELLO ", hello);                     // inline: on the event loop, so: quick
//       module.route("GET /report", report, hrmr::kPool);  // on a worker thread: may block
//     }
//
//     HRMR_MODULE("hello", "1.0", load)
//
// A handler is a function, or a lambda that captures nothing. It answers by what it writes to
// `reply`; in line framing those are exactly the bytes sent, the newline included. An exception
// that leaves it drops what it wrote and becomes an error reply (HTTP 500, or a line `ERR ...`)
// and a log record. An exception that leaves `load` refuses the load with its text, and the
// generation that served before serves on.
//
// State: let load return it, and name its type in the handlers that need it.
//
//     struct Counter {
//       std::atomic<long> hits{0};
//     };
//
//     static void hit(const hrmr::Request&, hrmr::Reply& reply, Counter& counter) {
//       reply.write(std::to_string(++counter.hits)).write("\n");
//     }
//
//     static std::unique_ptr<Counter> load(hrmr::Module& module) {
//       auto counter = std::make_unique<Counter>();
//       module.route("HIT", hit, *counter);
//       return counter;  // deleted on the reload thread, after this generation's last request
//     }
//
//     HRMR_MODULE("counter", "1.0", load)
//
// The destructor of the state is the module's unload: it joins the threads that the module
// started and closes what it opened.
//
// A state that has a member `void save(hrmr::Save&) const` outlives reloads: what it saves is what
// `previous()` shows to the load of the generation that takes over. While that happens no handler
// or timer of the module runs, so nothing is lost in between (policy `hold`, see abi.h).
//
//     void Counter::save(hrmr::Save& save) const {
//       save.schema(1).write(std::to_string(hits));
//     }
//
//     if (const auto before = module.previous()) counter->hits = parse(before.bytes);
//
// A reply can be given later, from any thread: `defer` takes it out of the handler.
//
//     static void wait_for_news(const hrmr::Request&, hrmr::Reply& reply, News& news) {
//       news.add(reply.defer());  // into a std::vector<hrmr::Deferred>, under a lock
//     }
//
//     for (hrmr::Deferred& reply : waiting) {
//       reply.write("news\n");
//       reply.complete();
//     }
//
// A Deferred that is destroyed before it was completed becomes an error reply. Until one of the two
// the generation stays loaded, and its client's further requests wait.
//
// A function can be called again and again while the generation serves:
//
//     module.every(60'000, flush, *counter, hrmr::kPool);  // each minute, on a worker thread
//
// Everything a Request shows lives until the handler returns. A Reply and a Request belong to the
// thread of the call. Handlers of one module run on several threads at once: lock what they share.
// abi.h says the rest: what a module must not do, and which thread calls what.
#pragma once

#include <exception>
#include <initializer_list>
#include <string_view>
#include <type_traits>
#include <utility>

#include "abi.h"

namespace hrmr {

enum Run : uint32_t { kInline = HRMR_RUN_INLINE, kPool = HRMR_RUN_POOL };
enum Framing : uint32_t {
  kAuto = HRMR_FRAMING_AUTO,
  kLine = HRMR_FRAMING_LINE,
  kHttp = HRMR_FRAMING_HTTP,
  kRaw = HRMR_FRAMING_RAW
};

namespace detail {
// Frees what a route or timer was registered with; one list per module.
struct Bound {
  Bound* next = nullptr;
  virtual ~Bound() = default;
};

// Ends a load that the host has refused, and knows why.
struct Refused {};

// Hidden, whatever flags the module is compiled with: as inline variables of default visibility
// they would be GNU-unique symbols, shared by every module of the process, and none could be
// unloaded.
#define HRMR_HIDDEN __attribute__((visibility("hidden")))
HRMR_HIDDEN inline const hrmr_host* host = nullptr;
HRMR_HIDDEN inline hrmr_context* context = nullptr;
HRMR_HIDDEN inline Bound* bound_list = nullptr;
#undef HRMR_HIDDEN

inline std::string_view view(hrmr_bytes bytes) { return {bytes.data, bytes.size}; }
inline hrmr_bytes bytes(std::string_view text) { return {text.data(), text.size()}; }

inline void free_bound_list() {
  while (bound_list != nullptr) delete std::exchange(bound_list, bound_list->next);
}

// A type that takes no part in deducing template arguments.
template <class T>
struct Same {
  using Type = T;
};

// The T behind a T* or std::unique_ptr<T>; void for void.
template <class Pointer>
struct Pointee {
  using Type = typename Pointer::element_type;
};
template <class T>
struct Pointee<T*> {
  using Type = T;
};
template <>
struct Pointee<void> {
  using Type = void;
};
}  // namespace detail

class Save;

namespace detail {
template <class State, class = void>
struct HasSave : std::false_type {};
template <class State>
struct HasSave<State,
               std::void_t<decltype(std::declval<const State&>().save(std::declval<Save&>()))>>
    : std::true_type {};
}  // namespace detail

// Writes a record to the host's log, as "module.NAME". `level`: HRMR_DEBUG to HRMR_ERROR. Any
// thread, from load until unload returns.
inline void log(int level, std::string_view message) {
  detail::host->log(detail::context, level, detail::bytes(message));
}

// What the generation before has saved; false: there is none.
struct Previous {
  uint64_t schema = 0;  // what it said of the layout of `bytes`
  std::string_view bytes;
  bool exists = false;
  explicit operator bool() const { return exists; }
};

// Where a state's `save` writes to. Errors are exceptions: the reload then fails with their text,
// and this generation serves on.
class Save {
 public:
  explicit Save(hrmr_save* raw) : raw_(raw) {}

  // The module's own number for the layout of the bytes; 0 unless set.
  Save& schema(uint64_t number) {
    raw_->schema = number;
    return *this;
  }
  // Appends; copied at once. At most 256 MiB in all; more makes the save fail.
  Save& write(std::string_view bytes) {
    raw_->host->save(raw_, detail::bytes(bytes));
    return *this;
  }

 private:
  hrmr_save* raw_;
};

class Request {
 public:
  explicit Request(const hrmr_request* raw) : raw_(raw) {}

  // The whole request, prefix included; a line without its line end.
  std::string_view bytes() const { return detail::view(raw_->bytes); }
  // What follows the prefix that this handler was registered with.
  std::string_view rest() const { return detail::view(raw_->rest); }
  // "127.0.0.1:40312"
  std::string_view peer() const { return detail::view(raw_->peer); }
  Framing framing() const { return static_cast<Framing>(raw_->framing); }

  // HTTP only; empty elsewhere.
  std::string_view method() const { return detail::view(raw_->method); }
  // "/users?id=1", as sent: still percent-encoded, as are its parts `path` and `query`.
  std::string_view target() const { return detail::view(raw_->target); }
  std::string_view path() const { return detail::view(raw_->path); }    // "/users"
  std::string_view query() const { return detail::view(raw_->query); }  // "id=1"
  std::string_view body() const { return detail::view(raw_->body); }

  // The value of the first header of that name, in any case; empty when there is none.
  std::string_view header(std::string_view name) const {
    for (size_t i = 0; i < raw_->header_count; ++i) {
      if (is_same_name(detail::view(raw_->headers[i].name), name))
        return detail::view(raw_->headers[i].value);
    }
    return {};
  }

  // For what has no accessor here, such as all headers in order.
  const hrmr_request* raw() const { return raw_; }

 private:
  static char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
  static bool is_same_name(std::string_view left, std::string_view right) {
    if (left.size() != right.size()) return false;
    for (size_t i = 0; i < left.size(); ++i) {
      if (lower(left[i]) != lower(right[i])) return false;
    }
    return true;
  }

  const hrmr_request* raw_;
};

class Deferred;

// What Reply::flush came to.
enum class Flushed {
  kSent,
  kBusy,  // the client reads too slowly; nothing is lost, flush again later
  kGone,  // the client has gone, or the host has refused a call: stop
};

// What a handler answers. The first call that the host refuses (see the enum of abi.h) makes the
// whole reply an error reply, unless fail() then says a better one.
class Reply {
 public:
  explicit Reply(hrmr_reply* raw) : raw_(raw) {}

  // Body: any number of writes, copied at once. In line and raw framing, exactly the bytes sent.
  Reply& write(std::string_view bytes) {
    return has_failed_ ? *this : note(detail::host->write(raw_, detail::bytes(bytes)));
  }
  // Room for `size` bytes to fill in place and commit, without a copy; nullptr when the reply
  // would be too large. Lives until the next call on this reply.
  char* reserve(size_t size) {
    char* room = has_failed_ ? nullptr : detail::host->reserve(raw_, size);
    if (room == nullptr) note(HRMR_TOO_LARGE);
    return room;
  }
  Reply& commit(size_t size) {
    return has_failed_ ? *this : note(detail::host->commit(raw_, size));
  }
  // The next `length` bytes of the body are those of the regular file `fd` from `offset` on. They
  // are sent later, without being read into memory; `fd` is duplicated and may be closed at once.
  Reply& send_file(int fd, uint64_t offset, uint64_t length) {
    return has_failed_ ? *this : note(detail::host->send_file(raw_, fd, offset, length));
  }

  // Sends the reply in pieces from now on: what is written goes with each flush(), the rest when
  // the reply ends. In pool functions, and with deferred replies anywhere; after status and
  // headers. `length`: of the whole body, if it is known.
  Reply& stream(int64_t length = -1) {
    return has_failed_ ? *this : note(detail::host->stream(raw_, length));
  }
  // Waits up to `wait_ms` while the client has more than 1 MiB to read; 0: not at all.
  Flushed flush(uint32_t wait_ms = 30000) {
    const int result =
        has_failed_ || result_ != HRMR_OK ? HRMR_GONE : detail::host->flush(raw_, wait_ms);
    if (result == HRMR_OK) return Flushed::kSent;
    if (result == HRMR_BUSY) return Flushed::kBusy;
    note(result);
    return Flushed::kGone;
  }

  // HTTP, before the body; without effect elsewhere.
  Reply& status(int status) {
    return has_failed_ ? *this : note(detail::host->status(raw_, status));
  }
  Reply& header(std::string_view name, std::string_view value) {
    if (has_failed_) return *this;
    return note(detail::host->header(raw_, detail::bytes(name), detail::bytes(value)));
  }

  // Closes the connection once this reply is sent.
  Reply& close() { return raw_ == nullptr ? *this : note(detail::host->close(raw_)); }
  // Instead of all that was written, and final: HTTP `status` (400 to 599) with `message` as its
  // body, or a line `ERR message`.
  Reply& fail(int status, std::string_view message) {
    if (raw_ == nullptr) return *this;
    has_failed_ = true;
    result_ = detail::host->fail(raw_, status, detail::bytes(message));
    return *this;
  }

  // Takes the reply out of the handler, which then has no more to do with it: what was written so
  // far is dropped, and what the handler returns or throws changes nothing. Once.
  Deferred defer();

  // Inside an inline handler whose work may block after all: true, and the handler is called again
  // for this request, on the pool; it must return at once, and what it wrote is dropped. False
  // where it is not inline, as in that second call.
  //
  //     if (reply.to_pool()) return;
  bool to_pool() {
    if (raw_ == nullptr || detail::host->to_pool(raw_) != HRMR_OK) return false;
    take_raw();
    return true;
  }

  // HRMR_OK, or why the host refused the first call that it refused.
  int result() const { return result_; }
  hrmr_reply* raw() const { return raw_; }

 protected:
  // Without it every call is refused.
  hrmr_reply* take_raw() {
    result_ = HRMR_TOO_LATE;
    has_failed_ = true;
    return std::exchange(raw_, nullptr);
  }

 private:
  Reply& note(int result) {
    if (result_ == HRMR_OK && !has_failed_) result_ = result;
    return *this;
  }

  hrmr_reply* raw_;
  int result_ = HRMR_OK;
  bool has_failed_ = false;
};

// A reply that outlives its handler, written like any other, from any thread, one at a time. Ends
// with complete(), or with the destructor, which answers with an error that names the module. That
// the client has gone does no harm to either. False once it has ended, was moved from, or was
// deferred a second time.
class Deferred : public Reply {
 public:
  explicit Deferred(hrmr_reply* raw) : Reply(raw) {
    if (raw == nullptr) take_raw();
  }
  Deferred(Deferred&& other) noexcept : Reply(other) { other.take_raw(); }
  Deferred& operator=(Deferred&& other) noexcept {
    if (this == &other) return *this;
    drop();
    Reply::operator=(other);
    other.take_raw();
    return *this;
  }
  ~Deferred() { drop(); }

  explicit operator bool() const { return raw() != nullptr; }
  // Sends it; an error reply if the host has refused a call and fail() said no better one.
  void complete() {
    if (hrmr_reply* raw = take_raw()) detail::host->complete(raw);
  }

 private:
  void drop() {
    if (hrmr_reply* raw = take_raw()) detail::host->drop(raw);
  }
};

inline Deferred Reply::defer() { return Deferred(detail::host->defer(raw_)); }

// What load is handed; it lives until load returns.
class Module {
 public:
  explicit Module(hrmr_load* raw) : raw_(raw) {}

  using Handler = void (*)(const Request&, Reply&);
  template <class State>
  using StateHandler = void (*)(const Request&, Reply&, State&);

  // `prefix`: 1 to 1024 bytes, copied; the longest one that a request begins with wins. A prefix
  // that another module holds refuses the load.
  void route(std::string_view prefix, Handler handler, Run run = kInline, Framing framing = kAuto) {
    add(prefix, run, framing, call_plain, reinterpret_cast<void*>(handler));
  }
  // The same with a state that outlives the generation's last request, such as what load returns.
  template <class State>
  void route(std::string_view prefix, typename detail::Same<StateHandler<State>>::Type handler,
             State& state, Run run = kInline, Framing framing = kAuto) {
    add(prefix, run, framing, call_with_state<State>, new BoundState<State>(handler, &state));
  }

  using Task = void (*)();
  template <class State>
  using StateTask = void (*)(State&);

  // Calls `task` again and again, each time `interval_ms` (10 to 86400000) after the last time,
  // from when the generation serves until it is replaced and its last request is answered; never
  // twice at once. An exception that leaves it becomes a log record.
  void every(uint32_t interval_ms, Task task, Run run = kInline) {
    add_timer(interval_ms, run, run_plain, reinterpret_cast<void*>(task));
  }
  // The same with a state that outlives the generation, such as what load returns.
  template <class State>
  void every(uint32_t interval_ms, typename detail::Same<StateTask<State>>::Type task, State& state,
             Run run = kInline) {
    add_timer(interval_ms, run, run_with_state<State>, new BoundTask<State>(task, &state));
  }

  // The text of `key` in the table [modules.NAME] of hrmr.toml (numbers as TOML writes them,
  // nested keys dotted: "db.path"), or `otherwise` when it is not set. NUL-terminated; lives until
  // load returns.
  std::string_view config(const char* key, std::string_view otherwise = {}) const {
    const hrmr_bytes value = raw_->host->config(raw_, key);
    return value.data == nullptr ? otherwise : detail::view(value);
  }

  // Which keys that table may have. One that is none of them, such as a misspelt one, ends load
  // here and refuses it, with a text that names the key and these.
  void config_keys(std::initializer_list<const char*> known) const {
    if (raw_->host->config_keys(raw_, known.begin(), known.size()) != HRMR_OK)
      throw detail::Refused();
  }

  // What the generation that this one replaces has saved. To refuse it, throw: the old generation
  // then serves on, its state untouched. Lives until load returns.
  Previous previous() const {
    if (raw_->previous_state.data == nullptr) return {};
    return {raw_->previous_schema, detail::view(raw_->previous_state), true};
  }
  // 1 for the first load of the module, and one more for each that succeeded.
  uint64_t generation() const { return raw_->generation; }

  // HRMR_OK, or why the host refused the first route or timer that it refused; the load then fails.
  int result() const { return result_; }

  // For layers beside this one (command.hpp): what the host said to a registration of theirs.
  hrmr_load* raw() const { return raw_; }
  void note(int result) {
    if (result_ == HRMR_OK) result_ = result;
  }

 private:
  template <class State>
  struct BoundState : detail::Bound {
    BoundState(StateHandler<State> bound_handler, State* bound_state)
        : handler(bound_handler), state(bound_state) {
      next = std::exchange(detail::bound_list, this);
    }
    StateHandler<State> handler;
    State* state;
  };

  template <class State>
  struct BoundTask : detail::Bound {
    BoundTask(StateTask<State> bound_task, State* bound_state)
        : task(bound_task), state(bound_state) {
      next = std::exchange(detail::bound_list, this);
    }
    StateTask<State> task;
    State* state;
  };

  template <class Call>
  static int guarded(hrmr_reply* raw_reply, const Call& call) noexcept {
    Reply reply(raw_reply);
    try {
      call(reply);
    } catch (const std::exception& error) {
      reply.fail(500, error.what());
      log(HRMR_ERROR, error.what());
    } catch (...) {
      reply.fail(500, "unknown exception");
      log(HRMR_ERROR, "unknown exception in a handler");
    }
    return reply.result();
  }
  static int call_plain(const hrmr_request* request, hrmr_reply* reply, void* handler) noexcept {
    return guarded(reply,
                   [&](Reply& out) { reinterpret_cast<Handler>(handler)(Request(request), out); });
  }
  template <class State>
  static int call_with_state(const hrmr_request* request, hrmr_reply* reply,
                             void* context) noexcept {
    const auto* bound = static_cast<BoundState<State>*>(context);
    return guarded(reply,
                   [&](Reply& out) { bound->handler(Request(request), out, *bound->state); });
  }

  template <class Call>
  static void run_guarded(const Call& call) noexcept {
    try {
      call();
    } catch (const std::exception& error) {
      log(HRMR_ERROR, error.what());
    } catch (...) {
      log(HRMR_ERROR, "unknown exception in a timer");
    }
  }
  static void run_plain(void* task) noexcept { run_guarded(reinterpret_cast<Task>(task)); }
  template <class State>
  static void run_with_state(void* context) noexcept {
    const auto* bound = static_cast<BoundTask<State>*>(context);
    run_guarded([&] { bound->task(*bound->state); });
  }

  void add_timer(uint32_t interval_ms, Run run, void (*function)(void*), void* context) {
    const hrmr_timer timer = {sizeof(hrmr_timer), interval_ms, run, function, context};
    note(raw_->host->add_timer(raw_, &timer));
  }

  void add(std::string_view prefix, Run run, Framing framing, hrmr_handler function,
           void* context) {
    const hrmr_route route = {
        sizeof(hrmr_route), detail::bytes(prefix), framing, run, function, context};
    note(raw_->host->add_route(raw_, &route));
  }

  hrmr_load* raw_;
  int result_ = HRMR_OK;
};

// What HRMR_MODULE makes the exported functions of. `load_function` returns nothing, a State*, or
// a std::unique_ptr<State>.
template <auto load_function>
struct Entry {
  static int load(hrmr_load* raw) noexcept {
    detail::host = raw->host;
    detail::context = raw->context;
    Module module(raw);
    try {
      if constexpr (std::is_void_v<Returned>) {
        load_function(module);
      } else if constexpr (std::is_pointer_v<Returned>) {
        raw->state = load_function(module);
      } else {
        raw->state = load_function(module).release();
      }
      if (module.result() == HRMR_OK) return HRMR_OK;
      unload(raw->state);
      return module.result();
    } catch (const detail::Refused&) {
      // The host has its text.
    } catch (const std::exception& error) {
      raw->host->set_error(raw, detail::bytes(error.what()));
    } catch (...) {
      raw->host->set_error(raw, HRMR_BYTES("unknown exception"));
    }
    detail::free_bound_list();
    return HRMR_FAILED;
  }

  static void unload(void* state) noexcept {
    if constexpr (std::is_pointer_v<Returned>) {
      delete static_cast<Returned>(state);
    } else if constexpr (!std::is_void_v<Returned>) {
      delete static_cast<typename Returned::pointer>(state);
    }
    detail::free_bound_list();
  }

  using Returned = decltype(load_function(std::declval<Module&>()));
  using State = typename detail::Pointee<Returned>::Type;

  static int save_state(void* state, hrmr_save* raw) noexcept {
    try {
      if constexpr (detail::HasSave<State>::value) {
        Save save(raw);
        static_cast<const State*>(state)->save(save);
      }
      return HRMR_OK;
    } catch (const std::exception& error) {
      return raw->host->save_error(raw, detail::bytes(error.what()));
    } catch (...) {
      return raw->host->save_error(raw, HRMR_BYTES("unknown exception"));
    }
  }
  static constexpr auto saver = detail::HasSave<State>::value ? &save_state : nullptr;
};

}  // namespace hrmr

// Exports the module: its name (that of the file without suffix), its version, and its load:
// void(hrmr::Module&), or one that returns a State* or std::unique_ptr<State>, which is deleted
// when the generation is gone, and whose `save`, if there is one, hands it to the next.
#define HRMR_MODULE(name, version, load_function)                                     \
  HRMR_EXPORT const hrmr_module hrmr_module_v1 = {sizeof(hrmr_module),                \
                                                  HRMR_ABI,                           \
                                                  name,                               \
                                                  version,                            \
                                                  hrmr::Entry<load_function>::load,   \
                                                  hrmr::Entry<load_function>::unload, \
                                                  hrmr::Entry<load_function>::saver};
