// SPDX-License-Identifier: MIT
//
// HRMR modules in C++: a thin layer on abi.h. C++17 or later; no iostream, no heavy template: it
// compiles in a blink.
//
//     #include <hrmr/module.hpp>
//
//     static void hello(const hrmr::Request& request, hrmr::Reply& reply) {
//       reply.write("hello ").write(request.rest()).write("\n");
//     }
//
//     static void load(hrmr::Module& module) {
//       module.route("HELLO ", hello);                       // inline: on the event loop, for
//       microseconds of work module.route("GET /report", report, hrmr::kPool);    // on a worker
//       thread: files, databases, whatever blocks
//     }
//
//     HRMR_MODULE("hello", "1.0", load)
//
// A handler answers by what it writes to `reply`. An exception that leaves it drops what it wrote
// and becomes an error reply (HTTP 500, or a line `ERR ...`) and a log record. An exception that
// leaves `load` refuses the load with its text, and the generation that served before serves on.
//
// State of a module: give load a second form that returns a pointer; the handlers that need it name
// its type.
//
//     struct Counter { std::atomic<long> hits; };
//     static void hit(const hrmr::Request&, hrmr::Reply& reply, Counter& counter) { ... }
//     static Counter* load(hrmr::Module& module) {
//       auto* counter = new Counter;
//       module.route("HIT", hit, *counter);
//       return counter;                                      // deleted after the last request of
//       this generation
//     }
//     HRMR_MODULE("counter", "1.0", load)
//
// Everything a Request shows lives until the handler returns. A Reply and a Request belong to the
// thread of the call. Handlers of one module run on several threads at once: lock what they share.
// abi.h says the rest: what a module must not do, and which thread calls what.
#pragma once

#include <cstring>
#include <exception>
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
// One copy per module: the SDK's flags hide it, so two generations never share it.
inline const hrmr_host* host = nullptr;
inline hrmr_context* context = nullptr;

inline std::string_view view(hrmr_bytes bytes) { return {bytes.data, bytes.size}; }
inline hrmr_bytes bytes(std::string_view text) { return {text.data(), text.size()}; }
}  // namespace detail

// Writes a record to the host's log, as "module.NAME". Any thread, from load until unload returns.
inline void log(int level, std::string_view message) {
  detail::host->log(detail::context, level, detail::bytes(message));
}

class Request {
 public:
  explicit Request(const hrmr_request* raw) : raw_(raw) {}

  std::string_view bytes() const {
    return detail::view(raw_->bytes);
  }  // the whole request, prefix included
  std::string_view rest() const { return detail::view(raw_->rest); }  // what follows the prefix
  std::string_view peer() const { return detail::view(raw_->peer); }  // "127.0.0.1:40312"
  Framing framing() const { return static_cast<Framing>(raw_->framing); }

  // HTTP only; empty elsewhere.
  std::string_view method() const { return detail::view(raw_->method); }
  std::string_view target() const {
    return detail::view(raw_->target);
  }  // "/users?id=1", still percent-encoded
  std::string_view path() const { return detail::view(raw_->path); }    // "/users"
  std::string_view query() const { return detail::view(raw_->query); }  // "id=1"
  std::string_view body() const { return detail::view(raw_->body); }

  // The value of the first header of that name, in any case; empty when there is none.
  std::string_view header(std::string_view name) const {
    for (size_t i = 0; i < raw_->header_count; ++i) {
      if (same_name(detail::view(raw_->headers[i].name), name))
        return detail::view(raw_->headers[i].value);
    }
    return {};
  }

  const hrmr_request* raw() const { return raw_; }

 private:
  static char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
  static bool same_name(std::string_view left, std::string_view right) {
    if (left.size() != right.size()) return false;
    for (size_t i = 0; i < left.size(); ++i) {
      if (lower(left[i]) != lower(right[i])) return false;
    }
    return true;
  }

  const hrmr_request* raw_;
};

// The first call that the host refuses (see the enum of abi.h) makes the whole reply an error
// reply.
class Reply {
 public:
  explicit Reply(hrmr_reply* raw) : raw_(raw) {}

  // Body: any number of writes. In line and raw framing, exactly the bytes that are sent.
  Reply& write(std::string_view bytes) {
    return note(detail::host->write(raw_, detail::bytes(bytes)));
  }
  // Room for `size` bytes to fill in place and commit; nullptr when the reply would be too large.
  char* reserve(size_t size) { return detail::host->reserve(raw_, size); }
  Reply& commit(size_t size) { return note(detail::host->commit(raw_, size)); }

  // HTTP, before the body; without effect elsewhere.
  Reply& status(int status) { return note(detail::host->status(raw_, status)); }
  Reply& header(std::string_view name, std::string_view value) {
    return note(detail::host->header(raw_, detail::bytes(name), detail::bytes(value)));
  }

  // Closes the connection once this reply is sent.
  Reply& close() { return note(detail::host->close(raw_)); }
  // Instead of all that was written: HTTP `status` (400 to 599), or a line `ERR message`.
  Reply& fail(int status, std::string_view message) {
    return note(detail::host->fail(raw_, status, detail::bytes(message)));
  }

  int result() const { return result_; }
  hrmr_reply* raw() const { return raw_; }

 private:
  Reply& note(int result) {
    if (result_ == HRMR_OK) result_ = result;
    return *this;
  }

  hrmr_reply* raw_;
  int result_ = HRMR_OK;
};

// What load is handed; it lives until load returns.
class Module {
 public:
  explicit Module(hrmr_load* raw) : raw_(raw) {}

  using Handler = void (*)(const Request&, Reply&);
  template <class State>
  using StateHandler = void (*)(const Request&, Reply&, State&);

  // `prefix`: 1 to 1024 bytes, the longest one wins. A prefix that another module holds refuses the
  // load.
  void route(std::string_view prefix, Handler handler, Run run = kInline, Framing framing = kAuto) {
    add(prefix, run, framing, call_plain, reinterpret_cast<void*>(handler));
  }
  // The same with a state that outlives the generation's last request, such as the one that load
  // returns.
  template <class State>
  void route(std::string_view prefix, StateHandler<State> handler, State& state, Run run = kInline,
             Framing framing = kAuto) {
    BoundBase* bound = new Bound<State>(handler, &state);
    add(prefix, run, framing, call_with_state<State>, bound);
  }

  // The text of `key` in the table [modules.NAME] of hrmr.toml (numbers as TOML writes them, nested
  // keys dotted), or `otherwise` when it is not set. Lives until load returns.
  std::string_view config(const char* key, std::string_view otherwise = {}) const {
    const hrmr_bytes value = raw_->host->config(raw_, key);
    return value.data == nullptr ? otherwise : detail::view(value);
  }

 private:
  // Lives as long as the module's code: a handful of pointers per route, freed with the list when
  // it unloads.
  struct BoundBase {
    BoundBase* next = nullptr;
    virtual ~BoundBase() = default;
  };
  template <class State>
  struct Bound : BoundBase {
    Bound(StateHandler<State> bound_handler, State* bound_state)
        : handler(bound_handler), state(bound_state) {
      next = bound_list();
      bound_list() = this;
    }
    StateHandler<State> handler;
    State* state;
  };
  static BoundBase*& bound_list() {
    static BoundBase* list = nullptr;
    return list;
  }

  template <class Call>
  static int guarded(hrmr_reply* raw_reply, const Call& call) noexcept {
    Reply reply(raw_reply);
    try {
      call(reply);
      return reply.result();
    } catch (const std::exception& error) {
      detail::host->fail(raw_reply, 500, detail::bytes(error.what()));
      log(HRMR_ERROR, error.what());
    } catch (...) {
      detail::host->fail(raw_reply, 500, HRMR_BYTES("unknown exception"));
      log(HRMR_ERROR, "unknown exception in a handler");
    }
    return HRMR_OK;
  }
  static int call_plain(const hrmr_request* request, hrmr_reply* reply, void* handler) noexcept {
    return guarded(reply,
                   [&](Reply& out) { reinterpret_cast<Handler>(handler)(Request(request), out); });
  }
  template <class State>
  static int call_with_state(const hrmr_request* request, hrmr_reply* reply,
                             void* context) noexcept {
    auto* bound = static_cast<Bound<State>*>(static_cast<BoundBase*>(context));
    return guarded(reply,
                   [&](Reply& out) { bound->handler(Request(request), out, *bound->state); });
  }

  void add(std::string_view prefix, Run run, Framing framing, hrmr_handler function,
           void* context) {
    const hrmr_route route = {
        sizeof(hrmr_route), detail::bytes(prefix), framing, run, function, context};
    const int result = raw_->host->add_route(raw_, &route);
    if (result_ == HRMR_OK) result_ = result;
  }

  hrmr_load* raw_;
  int result_ = HRMR_OK;

  template <auto load>
  friend struct Entry;
};

// What HRMR_MODULE makes the exported functions of.
template <auto load_function>
struct Entry {
  static int load(hrmr_load* raw) noexcept {
    detail::host = raw->host;
    detail::context = raw->context;
    try {
      Module module(raw);
      if constexpr (std::is_void_v<decltype(load_function(module))>) {
        load_function(module);
      } else {
        raw->state = load_function(module);
      }
      if (module.result_ != HRMR_OK) unload(raw->state);
      return module.result_;
    } catch (const std::exception& error) {
      raw->host->set_error(raw, detail::bytes(error.what()));
    } catch (...) {
      raw->host->set_error(raw, HRMR_BYTES("unknown exception"));
    }
    free_bound();
    return HRMR_FAILED;
  }

  static void unload(void* state) noexcept {
    if constexpr (!std::is_void_v<decltype(load_function(std::declval<Module&>()))>) {
      delete static_cast<decltype(load_function(std::declval<Module&>()))>(state);
    }
    free_bound();
  }

 private:
  static void free_bound() {
    while (Module::bound_list() != nullptr) {
      auto* bound = Module::bound_list();
      Module::bound_list() = bound->next;
      delete bound;
    }
  }
};

}  // namespace hrmr

// Exports the module: its name (that of the file without suffix), its version, and load:
// void(hrmr::Module&), or State*(hrmr::Module&) with a State that is deleted when the generation is
// gone.
#define HRMR_MODULE(name, version, load_function)                                   \
  HRMR_EXPORT const hrmr_module hrmr_module_v1 = {sizeof(hrmr_module),              \
                                                  HRMR_ABI,                         \
                                                  name,                             \
                                                  version,                          \
                                                  hrmr::Entry<load_function>::load, \
                                                  hrmr::Entry<load_function>::unload};
