#include "wire/value_writer.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "wire/json_text.h"

namespace hrmr::wire {
namespace {

constexpr size_t kDigitsMax = 32;  // of an int64_t, a size_t, or a double in 17 digits
constexpr size_t kCodeBytesMax = 32;

// The text of a number, without an allocation.
class Digits {
 public:
  explicit Digits(size_t number) { set(std::to_chars(text_, text_ + kDigitsMax, number).ptr); }
  explicit Digits(int64_t number) { set(std::to_chars(text_, text_ + kDigitsMax, number).ptr); }
  // Redis 7.0 prints "%.17g". JSON has the shortest text that reads back the same, and an exponent
  // only where JavaScript would write one too.
  Digits(double number, bool is_json) {
    char* const end = text_ + kDigitsMax;
    const double size = std::fabs(number);
    if (!is_json) {
      set(std::to_chars(text_, end, number, std::chars_format::general, 17).ptr);
    } else if (size == 0 || (size >= 1e-6 && size < 1e17)) {
      set(std::to_chars(text_, end, number, std::chars_format::fixed).ptr);
    } else {
      set(std::to_chars(text_, end, number).ptr);
    }
  }
  std::string_view view() const { return {text_, size_}; }

 private:
  void set(const char* end) { size_ = static_cast<size_t>(end - text_); }

  char text_[kDigitsMax];
  size_t size_ = 0;
};

bool is_code(std::string_view code) {
  return !code.empty() && code.size() <= kCodeBytesMax &&
         std::all_of(code.begin(), code.end(), [](char c) {
           return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
         });
}

bool is_one_line(std::string_view text) {
  return text.find_first_of("\r\n") == std::string_view::npos;
}

}  // namespace

std::string_view ValueWriter::fault() const {
  if (is_complete_) return {};
  return depth_ == 0 ? "it gave no value"
                     : "a list, map or set has fewer elements than were promised";
}

bool ValueWriter::is_key() const {
  if (depth_ == 0) return false;
  const Open& top = open_[depth_ - 1];
  return top.kind == Kind::kMap && top.left % 2 == 0;
}

// Whether another value may come.
WriteResult ValueWriter::check(bool may_be_key) const {
  if (is_complete_) return WriteResult::kTooLate;
  return is_key() && !may_be_key ? WriteResult::kBadArgument : WriteResult::kOk;
}

// Null: the reply would be too large, or it has failed.
char* ValueWriter::room(size_t bytes) {
  begin_ = out_.reserve(bytes + 1);
  if (begin_ == nullptr || !is_json() || depth_ == 0) return begin_;
  const Open& top = open_[depth_ - 1];
  if (top.is_first) return begin_;
  *begin_ = top.kind == Kind::kMap && top.left % 2 == 1 ? ':' : ',';
  return begin_ + 1;
}

// One value is written up to there.
WriteResult ValueWriter::done(const char* end) {
  const WriteResult result = out_.commit(static_cast<size_t>(end - begin_));
  if (result != WriteResult::kOk) return result;
  if (depth_ != 0) {
    --open_[depth_ - 1].left;
    open_[depth_ - 1].is_first = false;
  }
  close_finished();
  return WriteResult::kOk;
}

// Whatever has all its elements is an element of what it is in.
void ValueWriter::close_finished() {
  while (depth_ != 0 && open_[depth_ - 1].left == 0) {
    const char* const end = open_[depth_ - 1].kind == Kind::kMap ? "}" : "]";
    if (is_json() && out_.write(end) != WriteResult::kOk) return;
    --depth_;
  }
  if (depth_ != 0) return;
  is_complete_ = !is_json() || out_.write("\n") == WriteResult::kOk;
}

WriteResult ValueWriter::put_number(std::string_view digits, std::string_view begin) {
  char* at = room(digits.size() + begin.size() + 2);
  if (at == nullptr) return WriteResult::kTooLarge;
  if (!is_json()) return done(put_text(put_text(put_text(at, begin), digits), "\r\n"));
  const std::string_view quote = is_key() ? "\"" : "";
  return done(put_text(put_text(put_text(at, quote), digits), quote));
}

// "$5\r\nhello\r\n"; `head` is counted as well.
WriteResult ValueWriter::put_blob(char type, std::string_view head, std::string_view bytes) {
  char* at = room(bytes.size() + head.size() + kDigitsMax);
  if (at == nullptr) return WriteResult::kTooLarge;
  *at++ = type;
  at = put_text(put_text(at, Digits(head.size() + bytes.size()).view()), "\r\n");
  return done(put_text(put_text(put_text(at, head), bytes), "\r\n"));
}

WriteResult ValueWriter::put_json_bytes(std::string_view bytes) {
  if (is_utf8(bytes)) {
    char* at = room(json_string_bytes(bytes));
    return at == nullptr ? WriteResult::kTooLarge : done(put_json_string(at, bytes));
  }
  if (is_key()) return WriteResult::kBadArgument;
  char* at = room(base64_bytes(bytes) + 16);
  if (at == nullptr) return WriteResult::kTooLarge;
  return done(put_text(put_base64(put_text(at, R"({"base64":")"), bytes), R"("})"));
}

WriteResult ValueWriter::nil() {
  const WriteResult checked = check(false);
  if (checked != WriteResult::kOk) return checked;
  char* at = room(8);
  if (at == nullptr) return WriteResult::kTooLarge;
  return done(put_text(at, is_json() ? "null" : is_resp3() ? "_\r\n" : "$-1\r\n"));
}

WriteResult ValueWriter::boolean(bool value) {
  const WriteResult checked = check(true);
  if (checked != WriteResult::kOk) return checked;
  if (is_json()) return put_number(value ? "true" : "false", {});
  if (is_resp3()) return put_number(value ? "t" : "f", "#");
  return put_number(value ? "1" : "0", ":");
}

WriteResult ValueWriter::integer(int64_t value) {
  const WriteResult checked = check(true);
  return checked != WriteResult::kOk ? checked : put_number(Digits(value).view(), ":");
}

WriteResult ValueWriter::number(double value) {
  const WriteResult checked = check(true);
  if (checked != WriteResult::kOk) return checked;
  if (is_json() && !std::isfinite(value)) return put_number("null", {});
  const Digits digits(value, is_json());
  // The sign of a NaN means nothing.
  const std::string_view text = std::isnan(value) ? "nan" : digits.view();
  return is_json() || is_resp3() ? put_number(text, ",") : put_blob('$', {}, text);
}

WriteResult ValueWriter::bulk(std::string_view bytes) {
  const WriteResult checked = check(true);
  if (checked != WriteResult::kOk) return checked;
  return is_json() ? put_json_bytes(bytes) : put_blob('$', {}, bytes);
}

WriteResult ValueWriter::simple(std::string_view text) {
  const WriteResult checked = check(true);
  if (checked != WriteResult::kOk) return checked;
  if (!is_one_line(text)) return WriteResult::kBadArgument;
  return is_json() ? put_json_bytes(text) : put_number(text, "+");
}

WriteResult ValueWriter::verbatim(std::string_view format, std::string_view text) {
  const WriteResult checked = check(true);
  if (checked != WriteResult::kOk) return checked;
  if (format.size() != 3 || !is_one_line(format)) return WriteResult::kBadArgument;
  if (!is_resp3()) return bulk(text);
  const char head[] = {format[0], format[1], format[2], ':'};
  return put_blob('=', {head, sizeof head}, text);
}

WriteResult ValueWriter::error(std::string_view code, std::string_view message) {
  const WriteResult checked = check(false);
  if (checked != WriteResult::kOk) return checked;
  if (code.empty()) code = "ERR";
  if (!is_code(code)) return WriteResult::kBadArgument;
  if (depth_ == 0) {
    out_.fail_as(code, message);
    is_complete_ = true;
    return WriteResult::kOk;
  }
  char* at = room(json_string_bytes(message) + code.size() + 64);
  if (at == nullptr) return WriteResult::kTooLarge;
  if (is_json()) {
    at = put_text(put_text(at, R"({"error":{"code":")"), code);
    at = put_json_string(put_text(at, R"(","message":)"), message);
    return done(put_text(at, "}}"));
  }
  char* const text = put_text(put_text(put_text(at, "-"), code), " ");
  char* const end = put_text(text, message);
  std::replace_if(
      text, end, [](char c) { return c == '\r' || c == '\n'; }, ' ');
  return done(put_text(end, "\r\n"));
}

WriteResult ValueWriter::begin_list(size_t count) { return begin(Kind::kList, count); }
WriteResult ValueWriter::begin_set(size_t count) { return begin(Kind::kSet, count); }
WriteResult ValueWriter::begin_map(size_t pairs) { return begin(Kind::kMap, pairs); }

WriteResult ValueWriter::begin(Kind kind, size_t count) {
  const WriteResult checked = check(false);
  if (checked != WriteResult::kOk) return checked;
  // More than a reply has bytes: such a count can only be wrong.
  if (count > out_.bytes_max() || depth_ == open_.size()) {
    out_.note_refused();
    return WriteResult::kTooLarge;
  }
  char* at = room(kDigitsMax);
  if (at == nullptr) return WriteResult::kTooLarge;
  const bool is_map = kind == Kind::kMap;
  const size_t elements = is_map ? 2 * count : count;
  if (is_json()) {
    *at++ = is_map ? '{' : '[';
  } else {
    *at++ = !is_resp3() || kind == Kind::kList ? '*' : is_map ? '%' : '~';
    at = put_text(put_text(at, Digits(is_resp3() ? count : elements).view()), "\r\n");
  }
  const WriteResult result = out_.commit(static_cast<size_t>(at - begin_));
  if (result != WriteResult::kOk) return result;
  if (depth_ != 0) {
    --open_[depth_ - 1].left;
    open_[depth_ - 1].is_first = false;
  }
  open_[depth_++] = {elements, kind, true};
  close_finished();
  return WriteResult::kOk;
}

}  // namespace hrmr::wire
