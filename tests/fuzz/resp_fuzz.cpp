// The framing of RESP, and the three ways to write a command's arguments: a RESP array, a line with
// Redis' quoting, a JSON list. The input is what a peer sends.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "framer_feed.h"
#include "wire/arguments.h"
#include "wire/json_text.h"

namespace {

using namespace hrmr;
using namespace hrmr::fuzz;

using Words = std::vector<std::string>;

// Some bytes in a heap block of just their size, that may be decoded in place.
class Exact {
 public:
  explicit Exact(std::string_view bytes) : bytes_(new char[bytes.size()]), size_(bytes.size()) {
    std::copy(bytes.begin(), bytes.end(), bytes_.get());
  }
  std::string_view view() const { return {bytes_.get(), size_}; }

  // Copies of the arguments, which must lie in the bytes, one behind the other.
  Words words_of(const std::vector<wire::Text>& arguments) const {
    Words words;
    const char* free_from = bytes_.get();
    for (const wire::Text& argument : arguments) {
      HRMR_CHECK(argument.data >= free_from);
      HRMR_CHECK(argument.data + argument.size <= bytes_.get() + size_);
      free_from = argument.data + argument.size;
      words.emplace_back(argument.data, argument.size);
    }
    return words;
  }

 private:
  std::unique_ptr<char[]> bytes_;
  size_t size_;
};

// ---- RESP arrays

std::string array_of(const Words& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return text;
}

void check_array(const Seen& seen) {
  const Exact frame(seen.bytes);
  std::vector<wire::Text> arguments;
  wire::read_resp_arguments(frame.view(), arguments);
  const Words words = frame.words_of(arguments);
  HRMR_CHECK(!words.empty());
  // There is one way only to write an array that is accepted.
  HRMR_CHECK(array_of(words) == seen.bytes);
}

void check_arrays(std::string_view input, const wire::FrameLimits& limits) {
  const Outcome outcome = feed_every_way(wire::Framing::kResp, limits, input);
  std::string accepted;
  for (const Seen& seen : outcome.requests) {
    check_array(seen);
    accepted += seen.bytes;
  }
  if (!outcome.is_refused) return;
  HRMR_CHECK(starts_with(outcome.reply, "-ERR Protocol error: "));
  HRMR_CHECK_EQ(outcome.reply.find("\r\n"), outcome.reply.size() - 2);
  HRMR_CHECK_EQ(std::count(outcome.reply.begin(), outcome.reply.end(), '\n'), 1);
  // What was in front of the fault is not lost by it.
  const Outcome again = feed(wire::Framing::kResp, limits, accepted, Cut{7, true}, true);
  HRMR_CHECK(!again.is_refused && again.requests == outcome.requests);
}

// ---- lines

std::string quoted(const Words& words) {
  std::string line;
  for (const std::string& word : words) {
    line += line.empty() ? "\"" : " \"";
    for (const char c : word) {
      line += "\\x";
      line += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
      line += "0123456789ABCDEF"[static_cast<unsigned char>(c) & 15];
    }
    line += "\"";
  }
  return line;
}

Words words_of_line(std::string_view line) {
  const Exact exact(line);
  std::vector<wire::Text> arguments;
  wire::read_line_arguments(exact.view(), arguments);
  return exact.words_of(arguments);
}

void check_line(std::string_view line) {
  const std::string_view name = wire::first_word(line);
  HRMR_CHECK(name.empty() || line.find(name) != std::string_view::npos);
  if (!wire::is_balanced(Exact(line).view())) return;
  const Words words = words_of_line(line);
  char buffer[16];
  const std::string_view meant = wire::first_word(Exact(line).view(), buffer);
  if (!words.empty()) HRMR_CHECK(meant == words.front().substr(0, sizeof buffer));
  const std::string again = quoted(words);
  HRMR_CHECK(wire::is_balanced(again));
  HRMR_CHECK(words_of_line(again) == words);
}

// ---- JSON

std::string json_of(const Words& words) {
  std::string text = "[";
  for (const std::string& word : words) {
    if (text.size() > 1) text += " , ";
    std::string room(wire::json_string_bytes(word), '\0');
    const char* end = wire::put_json_string(room.data(), word);
    HRMR_CHECK_EQ(end - room.data(), room.size());
    text += room;
  }
  return text + "]";
}

void check_json(std::string_view body, size_t elements_max) {
  const Exact exact(body);
  std::vector<wire::Text> arguments;
  const std::string_view wrong = wire::read_json_arguments(exact.view(), elements_max, arguments);
  HRMR_CHECK(arguments.size() <= elements_max);
  const Words words = exact.words_of(arguments);
  if (!wrong.empty()) return;
  for (const std::string& word : words) HRMR_CHECK(wire::is_utf8(word));
  const Exact again(json_of(words));
  std::vector<wire::Text> same;
  HRMR_CHECK(wire::read_json_arguments(again.view(), elements_max, same).empty());
  HRMR_CHECK(again.words_of(same) == words);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  check_arrays(input, wire::FrameLimits());
  wire::FrameLimits tight;
  tight.elements_max = 4;
  tight.bulk_bytes_max = 16;
  tight.command_bytes_max = 64;
  check_arrays(input, tight);
  check_line(input.substr(0, input.find('\n')));
  check_line(input);
  check_json(input, limits::kRespElementsMax);
  check_json(input, tight.elements_max);
  return 0;
}
