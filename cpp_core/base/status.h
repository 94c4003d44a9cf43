// Status and Result: every operating error of the engine.
//
// An operating error is something that the world did to us: a port that is taken, a file that is
// not there, a module that does not load. It is returned, never thrown, and its message says what
// was tried, on what, and why it failed, so that it can be shown to a person as it is. Programmer
// errors are HRMR_CHECK's (check.h).
//
// Threads: values; no sharing.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace hrmr {

class [[nodiscard]] Status {
 public:
  static Status ok() { return Status(); }
  static Status error(std::string message) { return Status(std::move(message)); }

  bool is_ok() const { return message_.empty(); }
  // What was tried, on what, and why it failed. Empty when is_ok().
  const std::string& message() const { return message_; }

 private:
  Status() = default;
  explicit Status(std::string message) : message_(std::move(message)) {
    if (message_.empty()) message_ = "unknown error";
  }

  std::string message_;
};

// "cannot bind 127.0.0.1:8080: Address already in use". `code` is an errno value.
inline Status errno_status(std::string_view tried, std::string_view on_what, int code = errno) {
  std::string message = "cannot ";
  message.append(tried).append(" ").append(on_what).append(": ").append(std::strerror(code));
  return Status::error(std::move(message));
}

// A T, or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Status status)
      : state_(std::in_place_index<1>, std::move(status)) {}  // NOLINT(google-explicit-constructor)

  bool is_ok() const { return state_.index() == 0; }
  T& value() { return std::get<0>(state_); }
  const T& value() const { return std::get<0>(state_); }
  T take() { return std::move(std::get<0>(state_)); }
  Status status() const { return is_ok() ? Status::ok() : std::get<1>(state_); }
  const std::string& message() const { return std::get<1>(state_).message(); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace hrmr
