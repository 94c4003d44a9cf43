#include "base/symbol_name.h"

#include <cstddef>

#include "base/text.h"

namespace hrmr {

namespace {

constexpr std::string_view kAnonymous = "_GLOBAL__N_1";

// One symbol, taken apart from left to right.
class NameReader {
 public:
  NameReader(std::string_view symbol, std::span<char> room) : rest_(symbol), room_(room) {}

  // False: it is not a name that we read.
  bool read() {
    if (!skip("_Z")) return false;
    if (skip("N") ? !read_nested() : !read_unscoped()) return false;
    return add("(...)");
  }
  std::string_view name() const { return {room_.data(), used_}; }

 private:
  bool skip(std::string_view expected) {
    if (!starts_with(rest_, expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }

  bool add(std::string_view part) {
    if (part.size() > room_.size() - used_) return false;
    for (const char c : part) room_[used_++] = c;
    return true;
  }

  bool read_unscoped() { return (!skip("St") || add("std::")) && read_part(); }

  bool read_nested() {
    while (!rest_.empty() &&
           std::string_view("rVKRO").find(rest_.front()) != std::string_view::npos) {
      rest_.remove_prefix(1);  // the qualifiers of a member function
    }
    for (bool is_first = true; !skip("E"); is_first = false) {
      if (!is_first && !add("::")) return false;
      if (is_first && skip("St")) {
        if (!add("std")) return false;
      } else if (!(is_first ? read_part() : read_part() || read_constructor())) {
        return false;
      }
    }
    return used_ != 0;
  }

  // <source-name>: its length, then the name. An L before it: internal linkage.
  bool read_part() {
    skip("L");
    size_t size = 0;
    while (!rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9' && size <= room_.size()) {
      size = size * 10 + static_cast<size_t>(rest_.front() - '0');
      rest_.remove_prefix(1);
    }
    if (size == 0 || size > rest_.size()) return false;
    last_ = rest_.substr(0, size);
    rest_.remove_prefix(size);
    // Of a template; its arguments are not read here.
    if (starts_with(rest_, "I")) return false;
    return add(starts_with(last_, kAnonymous) ? "(anonymous namespace)" : last_);
  }

  bool read_constructor() {
    if (rest_.size() < 2 || last_.empty() || rest_[1] < '0' || rest_[1] > '5') return false;
    const bool is_destructor = rest_.front() == 'D';
    if (!is_destructor && rest_.front() != 'C') return false;
    rest_.remove_prefix(2);
    return (!is_destructor || add("~")) && add(last_);
  }

  std::string_view rest_;
  std::span<char> room_;
  size_t used_ = 0;
  std::string_view last_;
};

}  // namespace

std::string_view readable_name(std::string_view symbol, std::span<char> room) {
  NameReader reader(symbol, room);
  return reader.read() ? reader.name() : symbol;
}

}  // namespace hrmr
