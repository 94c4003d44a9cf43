// The values that commands answer with, as RESP2, RESP3 and JSON. The input says which values a
// handler writes: one byte names one, texts follow it with their length.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/output.h"
#include "wire/char_class.h"
#include "wire/json_text.h"
#include "wire/value_writer.h"

namespace {

using namespace hrmr;
using wire::ValueForm;
using wire::ValueWriter;
using wire::WriteResult;

// ---- a handler

class Handler {
 public:
  explicit Handler(std::string_view input) : rest_(input) {}

  void answer(ValueWriter& out) {
    while (!rest_.empty() && !out.is_complete()) {
      if (write_one(out, take()) != WriteResult::kOk) ++refused_;
    }
  }
  size_t refused() const { return refused_; }

 private:
  char take() {
    if (rest_.empty()) return 0;
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }
  std::string_view take_text() {
    const std::string_view text = rest_.substr(0, static_cast<unsigned char>(take()) % 40);
    rest_.remove_prefix(std::min(rest_.size(), text.size()));
    return text;
  }
  template <class Number>
  Number take_number() {
    Number number{};
    const std::string_view bytes = rest_.substr(0, sizeof number);
    std::memcpy(&number, bytes.data(), bytes.size());
    rest_.remove_prefix(bytes.size());
    return number;
  }
  WriteResult write_one(ValueWriter& out, char kind) {
    switch (kind) {
      case 'n':
        return out.nil();
      case 't':
        return out.boolean(take() % 2 == 0);
      case 'i':
        return out.integer(take_number<int64_t>());
      case 'd':
        return out.number(take_number<double>());
      case 'b':
        return out.bulk(take_text());
      case 's':
        return out.simple(take_text());
      case 'v': {
        const std::string_view format = take_text().substr(0, 3);
        return out.verbatim(format, take_text());
      }
      case 'e': {
        const std::string_view code = take_text();
        return out.error(code, take_text());
      }
      case 'l':
        return out.begin_list(static_cast<unsigned char>(take()) % 8);
      case 'z':
        return out.begin_set(static_cast<unsigned char>(take()) % 8);
      case 'm':
        return out.begin_map(static_cast<unsigned char>(take()) % 4);
      default:
        return out.integer(kind);
    }
  }

  std::string_view rest_;
  size_t refused_ = 0;
};

// ---- a client: takes exactly one value off a text, or aborts

class Client {
 public:
  explicit Client(std::string_view text) : rest_(text) {}

  void end() const { HRMR_CHECK(rest_.empty()); }

  void take_resp(bool is_resp3) {
    const std::string_view line = take_to("\r\n");
    HRMR_CHECK(!line.empty());
    const char type = line.front();
    const std::string_view after = line.substr(1);
    constexpr std::string_view kNew = "_#,=%~";
    if (kNew.find(type) != std::string_view::npos) HRMR_CHECK(is_resp3);
    switch (type) {
      case '+':
      case '-':
        HRMR_CHECK(after.find('\n') == std::string_view::npos);
        return;
      case ':':
        static_cast<void>(number_of(after));
        return;
      case '_':
        HRMR_CHECK(after.empty());
        return;
      case '#':
        HRMR_CHECK(after == "t" || after == "f");
        return;
      case ',':
        HRMR_CHECK(!after.empty());
        return;
      case '$':
        if (after != "-1") take_blob(number_of(after));
        return;
      case '=':
        HRMR_CHECK(number_of(after) >= 4 && rest_[3] == ':');
        take_blob(number_of(after));
        return;
      case '*':
      case '~':
        for (long long left = number_of(after); left > 0; --left) take_resp(is_resp3);
        return;
      case '%':
        for (long long left = 2 * number_of(after); left > 0; --left) take_resp(is_resp3);
        return;
      default:
        HRMR_CHECK(false);
    }
  }

  void take_json() {
    HRMR_CHECK(!rest_.empty());
    const char first = rest_.front();
    if (first == '{' || first == '[') {
      take_json_members(first == '{');
    } else if (first == '"') {
      take_json_string();
    } else {
      const size_t bytes = std::min(rest_.find_first_of(",]}\n"), rest_.size());
      check_json_word(take(bytes));
    }
  }
  void take_newline() { HRMR_CHECK(take(1) == "\n"); }

 private:
  std::string_view take(size_t bytes) {
    HRMR_CHECK(bytes <= rest_.size());
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }
  std::string_view take_to(std::string_view end) {
    const size_t at = rest_.find(end);
    HRMR_CHECK(at != std::string_view::npos);
    const std::string_view line = take(at);
    static_cast<void>(take(end.size()));
    return line;
  }
  static long long number_of(std::string_view digits) {
    size_t used = 0;
    const long long number = std::stoll(std::string(digits), &used);
    HRMR_CHECK_EQ(used, digits.size());
    return number;
  }
  void take_blob(long long bytes) {
    HRMR_CHECK(bytes >= 0);
    static_cast<void>(take(static_cast<size_t>(bytes)));
    HRMR_CHECK(take(2) == "\r\n");
  }

  void take_json_members(bool is_object) {
    static_cast<void>(take(1));
    const char end = is_object ? '}' : ']';
    bool is_first = true;
    while (!rest_.empty() && rest_.front() != end) {
      if (!is_first) HRMR_CHECK(take(1) == ",");
      is_first = false;
      if (is_object) {
        take_json_string();
        HRMR_CHECK(take(1) == ":");
      }
      take_json();
    }
    static_cast<void>(take(1));
  }
  void take_json_string() {
    HRMR_CHECK(take(1) == "\"");
    const std::string_view text = rest_;
    while (rest_.substr(0, 1) != "\"") {
      const std::string_view c = take(1);
      HRMR_CHECK(static_cast<unsigned char>(c.front()) >= 0x20);
      if (c == "\\" && take(1) == "u") static_cast<void>(take(4));
    }
    HRMR_CHECK(wire::is_utf8(text.substr(0, text.size() - rest_.size())));
    static_cast<void>(take(1));
  }
  static void check_json_word(std::string_view word) {
    if (word == "null" || word == "true" || word == "false") return;
    HRMR_CHECK(!word.empty());
    const std::string_view digits = word.substr(word.front() == '-' ? 1 : 0);
    HRMR_CHECK(!digits.empty() && wire::is_digit(digits.front()));
    HRMR_CHECK(digits.find_first_not_of("0123456789.eE+-") == std::string_view::npos);
    HRMR_CHECK(wire::is_digit(digits.back()));
  }

  std::string_view rest_;
};

// ----

constexpr std::string_view kBefore = "what was written before\n";

void check(std::string_view input, ValueForm form, size_t bytes_max) {
  Output out;
  out.append(kBefore);
  wire::ReplyFacts facts;
  facts.framing = form == ValueForm::kJson ? wire::Framing::kHttp : wire::Framing::kResp;
  facts.form = form;
  facts.bytes_max = bytes_max;
  wire::ReplyWriter reply(out, facts);
  ValueWriter value(reply, form);
  Handler(input).answer(value);
  HRMR_CHECK(value.is_complete() == value.fault().empty());
  if (!value.is_complete()) return;
  // Nothing can follow a value.
  HRMR_CHECK(value.integer(1) != WriteResult::kOk && value.begin_list(0) != WriteResult::kOk);
  reply.finish();

  const std::string_view sent = out.view();
  HRMR_CHECK(sent.substr(0, kBefore.size()) == kBefore);
  Client client(sent.substr(kBefore.size()));
  if (form != ValueForm::kJson) {
    client.take_resp(form == ValueForm::kResp3);
  } else {
    const size_t head_bytes = sent.find("\r\n\r\n") + 4;
    // An error that is larger than a reply may be is sent without its text.
    if (head_bytes == sent.size()) {
      HRMR_CHECK(bytes_max < limits::kReplyBytesMax);
      return;
    }
    client = Client(sent.substr(head_bytes));
    client.take_json();
    client.take_newline();
  }
  client.end();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  for (const ValueForm form : {ValueForm::kResp2, ValueForm::kResp3, ValueForm::kJson}) {
    for (const size_t bytes_max : {size_t{20}, limits::kReplyBytesMax}) {
      check(input, form, bytes_max);
    }
  }
  return 0;
}
