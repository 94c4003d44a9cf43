// SPDX-License-Identifier: MIT
//
// Commands in C++: a thin layer on abi.h, beside module.hpp. A command takes arguments and answers
// with one typed value; it is called by Redis clients, as a line, and as POST /call/NAME.
//
//     #include <hrmr/command.hpp>
//
//     static void add(const hrmr::Call& call, hrmr::Answer& answer, Store& store) {
//       answer.integer(store.add(call[0], call[1]));
//     }
//
//     static std::unique_ptr<Store> load(hrmr::Module& module) {
//       auto store = std::make_unique<Store>();
//       hrmr::command(module, {"KV.ADD", 2, 2}, add, *store);  // two arguments, inline
//       hrmr::command(module, {"KV.DUMP", 0, 0, hrmr::kPool}, dump, *store);
//       return store;
//     }
//
// A list, map or set is begun with its count, and its elements follow, each a value of its own:
//
//     answer.map(2);
//     answer.text("name").text("Ada");
//     answer.text("scores").list(2).integer(3).integer(5);
//
// An exception that leaves the function becomes an error reply and a log record, as in a route. A
// value that is not complete, or has too much, becomes an error reply too. abi.h says the rest.
#pragma once

#include "module.hpp"

namespace hrmr {

enum : uint32_t { kAnyNumber = HRMR_ANY_NUMBER };

// Which name, with how many arguments, and where its function runs.
struct CommandSpec {
  std::string_view name;
  uint32_t arguments_min = 0;
  uint32_t arguments_max = kAnyNumber;
  Run run = kInline;
};

// One call; all that it shows lives until the function returns.
class Call {
 public:
  explicit Call(const hrmr_call* raw) : raw_(raw) {}

  size_t size() const { return raw_->count; }
  // From 0 to size() - 1; any bytes.
  std::string_view operator[](size_t index) const { return detail::view(raw_->arguments[index]); }
  // Of the command, as the caller wrote it.
  std::string_view name() const { return detail::view(raw_->name); }
  // "127.0.0.1:40312"
  std::string_view peer() const { return detail::view(raw_->peer); }
  const hrmr_call* raw() const { return raw_; }

 private:
  const hrmr_call* raw_;
};

// What a command answers: exactly one value. Copied at once.
class Answer {
 public:
  explicit Answer(hrmr_reply* raw) : raw_(raw) {}
  // Of a reply that was deferred: `hrmr::Answer(deferred).integer(1); deferred.complete();`
  explicit Answer(const Deferred& deferred) : raw_(deferred.raw()) {}

  Answer& nil() { return note(detail::host->value_nil(raw_)); }
  Answer& boolean(bool value) { return note(detail::host->value_boolean(raw_, value ? 1 : 0)); }
  Answer& integer(int64_t value) { return note(detail::host->value_integer(raw_, value)); }
  Answer& number(double value) { return note(detail::host->value_double(raw_, value)); }
  // Any bytes.
  Answer& text(std::string_view bytes) {
    return note(detail::host->value_bytes(raw_, detail::bytes(bytes)));
  }
  // One line such as "OK".
  Answer& simple(std::string_view line) {
    return note(detail::host->value_simple(raw_, detail::bytes(line)));
  }
  // `format`: three letters, "txt" or "mkd".
  Answer& verbatim(std::string_view format, std::string_view bytes) {
    return note(detail::host->value_verbatim(raw_, detail::bytes(format), detail::bytes(bytes)));
  }
  // `code`: one word of capitals, such as NOTFOUND; empty: ERR.
  Answer& error(std::string_view code, std::string_view message) {
    return note(detail::host->value_error(raw_, detail::bytes(code), detail::bytes(message)));
  }
  Answer& list(size_t count) { return note(detail::host->value_list(raw_, count)); }
  Answer& map(size_t pairs) { return note(detail::host->value_map(raw_, pairs)); }
  Answer& set(size_t count) { return note(detail::host->value_set(raw_, count)); }

  // The connection is closed once this answer is sent.
  Answer& close() { return note(detail::host->close(raw_)); }
  // Takes the answer out of the function, as Reply::defer does.
  Deferred defer() { return Deferred(detail::host->defer(std::exchange(raw_, nullptr))); }

  // HRMR_OK, or why the host refused the first call that it refused; the reply is then an error.
  int result() const { return result_; }
  hrmr_reply* raw() const { return raw_; }

 private:
  Answer& note(int result) {
    if (result_ == HRMR_OK) result_ = result;
    return *this;
  }

  hrmr_reply* raw_;
  int result_ = HRMR_OK;
};

using CommandHandler = void (*)(const Call&, Answer&);
template <class State>
using StateCommandHandler = void (*)(const Call&, Answer&, State&);

namespace detail {
template <class State>
struct BoundCommand : Bound {
  BoundCommand(StateCommandHandler<State> bound_handler, State* bound_state)
      : handler(bound_handler), state(bound_state) {
    next = std::exchange(bound_list, this);
  }
  StateCommandHandler<State> handler;
  State* state;
};

inline int fail_command(hrmr_reply* reply, std::string_view message) {
  log(HRMR_ERROR, message);
  return host->fail(reply, 500, bytes(message));
}

template <class Function>
int run_command(hrmr_reply* reply, const Function& function) noexcept {
  Answer answer(reply);
  try {
    function(answer);
  } catch (const std::exception& error) {
    if (answer.raw() != nullptr) fail_command(reply, error.what());
  } catch (...) {
    if (answer.raw() != nullptr) fail_command(reply, "unknown exception in a command");
  }
  return HRMR_OK;  // what the host has refused, it has noted
}

inline int run_plain_command(const hrmr_call* call, hrmr_reply* reply, void* handler) noexcept {
  return run_command(
      reply, [&](Answer& out) { reinterpret_cast<CommandHandler>(handler)(Call(call), out); });
}

template <class State>
int run_state_command(const hrmr_call* call, hrmr_reply* reply, void* context) noexcept {
  const auto* bound = static_cast<BoundCommand<State>*>(context);
  return run_command(reply, [&](Answer& out) { bound->handler(Call(call), out, *bound->state); });
}

inline void add_command(Module& module, const CommandSpec& spec, hrmr_command_handler function,
                        void* context) {
  const hrmr_command command = {
      sizeof(hrmr_command), bytes(spec.name), spec.run, spec.arguments_min,
      spec.arguments_max,   function,         context};
  module.note(host->add_command(module.raw(), &command));
}
}  // namespace detail

// Inside load. `spec.name`: 1 to 64 letters, digits, '.', '_', ':', '-', in any case; copied. One
// that another module holds, or HRMR itself, refuses the load.
inline void command(Module& module, const CommandSpec& spec, CommandHandler handler) {
  detail::add_command(module, spec, detail::run_plain_command, reinterpret_cast<void*>(handler));
}
// The same with a state that outlives the generation's last request, such as what load returns.
template <class State>
void command(Module& module, const CommandSpec& spec,
             typename detail::Same<StateCommandHandler<State>>::Type handler, State& state) {
  detail::add_command(module, spec, detail::run_state_command<State>,
                      new detail::BoundCommand<State>(handler, &state));
}

}  // namespace hrmr
