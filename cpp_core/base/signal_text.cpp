#include "base/signal_text.h"

#include <unistd.h>

#include <cerrno>

namespace hrmr {

namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

}  // namespace

void SignalText::add(char c) {
  if (used_ == sizeof room_) flush();
  room_[used_++] = c;
}

SignalText& SignalText::text(std::string_view added) {
  for (const char c : added) add(c);
  return *this;
}

SignalText& SignalText::shown(std::string_view added) {
  for (const char c : added) {
    if (c >= ' ' && c <= '~') {
      add(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      text("\\x");
      add(kDigits[byte >> 4]);
      add(kDigits[byte & 15]);
    }
  }
  return *this;
}

SignalText& SignalText::digits(uint64_t value, unsigned base) {
  char room[20];  // those of 2^64 - 1
  size_t first = sizeof room;
  do {
    room[--first] = kDigits[value % base];
    value /= base;
  } while (value != 0);
  return text({room + first, sizeof room - first});
}

void SignalText::flush() {
  const char* rest = room_;
  while (used_ != 0) {
    const ssize_t written = ::write(fd_, rest, used_);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    rest += written;
    used_ -= static_cast<size_t>(written);
  }
  used_ = 0;
}

}  // namespace hrmr
