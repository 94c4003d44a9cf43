// SignalText: text that is put together and written inside a signal handler: with write(2) and room
// of its own, no heap, no lock, no locale.
//
// Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hrmr {

class SignalText {
 public:
  explicit SignalText(int fd) : fd_(fd) {}
  ~SignalText() { flush(); }
  SignalText(const SignalText&) = delete;
  SignalText& operator=(const SignalText&) = delete;

  SignalText& text(std::string_view added);
  // What a client or a module chose: bytes that are not printable ASCII as "\x1b", so that they
  // neither forge a line nor reach the terminal.
  SignalText& shown(std::string_view added);
  SignalText& number(uint64_t value) { return digits(value, 10); }
  SignalText& hex(uint64_t value) { return text("0x").digits(value, 16); }
  // Writes what is there. What stderr does not take is lost.
  void flush();

 private:
  SignalText& digits(uint64_t value, unsigned base);
  void add(char c);

  int fd_;
  size_t used_ = 0;
  char room_[1024];
};

}  // namespace hrmr
