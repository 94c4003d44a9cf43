#include "wire/arguments.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "wire/char_class.h"
#include "wire/json_text.h"

namespace hrmr::wire {
namespace {

// The input buffer is the connection's own and writable; views of it are const for all others.
char* writable(const char* at) { return const_cast<char*>(at); }

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
// As Redis has it: in front of a word \v and \f are space, within one they are not.
bool ends_word(char c) { return is_space(c) && c != '\v' && c != '\f'; }

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

char line_escape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

// Takes one word after the other off a line. `Sink` takes the decoded bytes.
class WordReader {
 public:
  explicit WordReader(std::string_view line)
      : at_(line.data()), end_(line.data() + std::min(line.find('\0'), line.size())) {}

  bool at_end() {
    while (at_ != end_ && is_space(*at_)) ++at_;
    return at_ == end_;
  }
  const char* place() const { return at_; }

  // False: a quote is left open, or something follows it at once.
  template <class Sink>
  bool take_word(const Sink& put) {
    while (at_ != end_ && !ends_word(*at_)) {
      const char c = *at_++;
      if (c != '"' && c != '\'') {
        put(c);
      } else if (!(c == '"' ? take_double(put) : take_single(put))) {
        return false;
      } else {
        return at_ == end_ || is_space(*at_);
      }
    }
    return true;
  }

 private:
  template <class Sink>
  bool take_double(const Sink& put) {
    while (at_ != end_ && *at_ != '"') {
      if (*at_ != '\\' || end_ - at_ < 2) {
        put(*at_++);
      } else if (end_ - at_ >= 4 && at_[1] == 'x' && hex_value(at_[2]) >= 0 &&
                 hex_value(at_[3]) >= 0) {
        put(static_cast<char>(hex_value(at_[2]) * 16 + hex_value(at_[3])));
        at_ += 4;
      } else {
        put(line_escape(at_[1]));
        at_ += 2;
      }
    }
    return take_quote();
  }
  template <class Sink>
  bool take_single(const Sink& put) {
    while (at_ != end_ && *at_ != '\'') {
      if (*at_ == '\\' && end_ - at_ >= 2 && at_[1] == '\'') ++at_;
      put(*at_++);
    }
    return take_quote();
  }
  bool take_quote() {
    if (at_ == end_) return false;
    ++at_;
    return true;
  }

  const char* at_;
  const char* end_;
};

// A JSON list, read in one pass.
class JsonReader {
 public:
  JsonReader(std::string_view body, size_t elements_max, std::vector<Text>& out)
      : at_(body.data()), end_(body.data() + body.size()), elements_max_(elements_max), out_(out) {}

  std::string_view read() {
    skip_space();
    if (at_ == end_) return {};
    if (*at_++ != '[') return "the body must be a JSON list";
    skip_space();
    if (at_ != end_ && *at_ == ']') {
      ++at_;
      return finish();
    }
    while (true) {
      skip_space();
      if (out_.size() >= elements_max_)
        return "more arguments than max_arguments (--max-arguments) allows";
      const std::string_view wrong = take_value();
      if (!wrong.empty()) return wrong;
      skip_space();
      if (at_ == end_) return "the JSON list has no end";
      const char c = *at_++;
      if (c == ']') return finish();
      if (c != ',') return "the JSON list lacks a comma";
    }
  }

 private:
  std::string_view finish() {
    skip_space();
    return at_ == end_ ? std::string_view() : "something follows the JSON list";
  }
  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
  }

  std::string_view take_value() {
    if (at_ == end_) return "the JSON list has no end";
    if (*at_ == '"') return take_string();
    if (*at_ == '-' || is_digit(*at_)) return take_number();
    for (const std::string_view word : {"true", "false"}) {
      if (std::string_view(at_, static_cast<size_t>(end_ - at_)).substr(0, word.size()) != word) {
        continue;
      }
      out_.emplace_back(std::string_view(at_, word.size()));
      at_ += word.size();
      return {};
    }
    return "arguments are JSON strings, numbers, true or false";
  }

  bool take_digits() {
    const char* const begin = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return at_ != begin;
  }
  // RFC 8259 section 6.
  std::string_view take_number() {
    constexpr std::string_view kWrong = "a JSON number is malformed";
    const char* const begin = at_;
    if (*at_ == '-') ++at_;
    const char* const digits = at_;
    if (!take_digits() || (*digits == '0' && at_ - digits > 1)) return kWrong;
    if (at_ != end_ && *at_ == '.') {
      ++at_;
      if (!take_digits()) return kWrong;
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
      ++at_;
      if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      if (!take_digits()) return kWrong;
    }
    out_.emplace_back(std::string_view(begin, static_cast<size_t>(at_ - begin)));
    return {};
  }

  std::string_view take_string() {
    const char* const begin = ++at_;
    char* put = writable(begin);
    while (at_ != end_ && *at_ != '"') {
      if (static_cast<unsigned char>(*at_) < 0x20) return "a JSON string has a control byte";
      if (*at_ != '\\') {
        *put++ = *at_++;
      } else if (!take_escape(put)) {
        return "a JSON string has a malformed escape";
      }
    }
    if (at_ == end_) return "a JSON string has no end";
    ++at_;
    const std::string_view text(begin, static_cast<size_t>(put - begin));
    if (!is_utf8(text)) return "a JSON string is not UTF-8";
    out_.emplace_back(text);
    return {};
  }

  // Writes what the escape stands for; never more bytes than it has.
  bool take_escape(char*& put) {
    if (end_ - at_ < 2) return false;
    const char kind = at_[1];
    at_ += 2;
    constexpr std::string_view kKinds = "\"\\/bfnrt";
    const size_t plain = kKinds.find(kind);
    if (plain != std::string_view::npos) {
      *put++ = "\"\\/\b\f\n\r\t"[plain];
      return true;
    }
    uint32_t code = 0;
    if (kind != 'u' || !take_unit(code)) return false;
    if (code >= 0xdc00 && code < 0xe000) return false;
    if (code >= 0xd800 && code < 0xdc00) {
      uint32_t low = 0;
      if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return false;
      at_ += 2;
      if (!take_unit(low) || low < 0xdc00 || low >= 0xe000) return false;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    put = put_utf8(put, code);
    return true;
  }
  bool take_unit(uint32_t& unit) {
    if (end_ - at_ < 4) return false;
    unit = 0;
    for (int i = 0; i < 4; ++i) {
      const int value = hex_value(*at_++);
      if (value < 0) return false;
      unit = unit * 16 + static_cast<uint32_t>(value);
    }
    return true;
  }
  static char* put_utf8(char* at, uint32_t code) {
    const auto tail = [code](int shift) { return static_cast<char>(0x80 | (code >> shift & 63)); };
    if (code < 0x80) {
      *at++ = static_cast<char>(code);
      return at;
    }
    if (code < 0x800) {
      *at++ = static_cast<char>(0xc0 | code >> 6);
    } else {
      if (code < 0x10000) {
        *at++ = static_cast<char>(0xe0 | code >> 12);
      } else {
        *at++ = static_cast<char>(0xf0 | code >> 18);
        *at++ = tail(12);
      }
      *at++ = tail(6);
    }
    *at++ = tail(0);
    return at;
  }

  const char* at_;
  const char* end_;
  size_t elements_max_;
  std::vector<Text>& out_;
};

}  // namespace

void read_resp_arguments(std::string_view frame, std::vector<Text>& out) {
  const char* at = static_cast<const char*>(std::memchr(frame.data(), '\r', frame.size())) + 2;
  const char* const end = frame.data() + frame.size();
  while (at != end) {
    size_t bytes = 0;
    for (++at; *at != '\r'; ++at) bytes = bytes * 10 + static_cast<size_t>(*at - '0');
    at += 2;
    out.emplace_back(std::string_view(at, bytes));
    at += bytes + 2;
  }
}

bool is_balanced(std::string_view line) {
  WordReader words(line);
  while (!words.at_end()) {
    if (!words.take_word([](char) {})) return false;
  }
  return true;
}

std::string_view first_word(std::string_view line) {
  size_t begin = 0;
  while (begin < line.size() && is_space(line[begin])) ++begin;
  size_t end = begin;
  while (end < line.size() && !ends_word(line[end]) && line[end] != '\0') ++end;
  return line.substr(begin, end - begin);
}

std::string_view first_word(std::string_view line, std::span<char> buffer) {
  size_t bytes = 0;
  WordReader words(line);
  if (!words.at_end()) {
    (void)words.take_word([&](char c) {
      if (bytes < buffer.size()) buffer[bytes++] = c;
    });
  }
  return {buffer.data(), bytes};
}

void read_line_arguments(std::string_view line, std::vector<Text>& out) {
  WordReader words(line);
  while (!words.at_end()) {
    char* const begin = writable(words.place());
    char* put = begin;
    (void)words.take_word([&put](char c) { *put++ = c; });
    out.emplace_back(std::string_view(begin, static_cast<size_t>(put - begin)));
  }
}

std::string_view read_arguments(const Request& call, size_t elements_max, std::vector<Text>& out) {
  out.clear();
  if (call.framing == Framing::kResp) {
    read_resp_arguments(call.bytes, out);
  } else if (call.framing == Framing::kLine) {
    read_line_arguments(call.bytes, out);
  } else {
    out.emplace_back(call.name);
    return read_json_arguments(call.body, elements_max, out);
  }
  return {};
}

std::string_view read_json_arguments(std::string_view body, size_t elements_max,
                                     std::vector<Text>& out) {
  return JsonReader(body, elements_max, out).read();
}

}  // namespace hrmr::wire
