// storm_answer: what storm_load asks, and every answer that is right, byte for byte.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace storm {

constexpr size_t kRoutes = 3;
constexpr std::array<std::string_view, kRoutes> kWords = {"INLINE", "POOL", "PYTHON"};
constexpr std::array<std::string_view, kRoutes> kPaths = {"/inline/", "/pool/", "/python/"};
constexpr char kAbsent =
    '-';  // the state of a module that is not loaded; else its version, a letter
constexpr size_t kContentBytesMax = 16'000;
constexpr std::string_view kDateHeader = "Date: ";
constexpr size_t kDateBytes = sizeof "Thu, 01 Jan 1970 00:00:00 GMT" - 1;

// Good enough, and quick: xorshift.
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed * 2 + 1) {}
  // 0 to sides - 1
  size_t roll(size_t sides) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<size_t>((state_ >> 11) % sides);
  }
  // Mostly small; now and then larger than what a socket takes at once with others of its kind.
  size_t size() {
    const size_t kind = roll(64);
    if (kind == 0) return roll(kContentBytesMax);
    return kind < 4 ? roll(4'000) : roll(160);
  }

 private:
  uint64_t state_;
};

struct Question {
  uint64_t serial = 0;  // no other question of the run has it
  size_t route = 0;
  bool is_http = false;
  size_t payload_bytes = 0;
  size_t fill_bytes = 0;
};

// Text that differs from one serial to the next.
inline std::string_view payload_of(const Question& question) {
  static const std::string text = [] {
    Dice dice(1);
    std::string letters(2 * kContentBytesMax, ' ');
    for (char& letter : letters) letter = static_cast<char>('a' + dice.roll(26));
    return letters;
  }();
  return std::string_view(text).substr(question.serial * 61 % kContentBytesMax,
                                       question.payload_bytes);
}

inline void append_line(std::string& out, const Question& question) {
  out.append(kWords[question.route]).append(" ").append(std::to_string(question.serial));
  out.append(" ").append(std::to_string(question.fill_bytes)).append(" ");
  out.append(payload_of(question));
}

inline void append_request_line(std::string& out, const Question& question) {
  out.append(question.payload_bytes == 0 ? "GET " : "POST ").append(kPaths[question.route]);
  out.append(std::to_string(question.serial)).append("/");
  out.append(std::to_string(question.fill_bytes)).append(" HTTP/1.1");
}

inline void append_request(std::string& out, const Question& question) {
  if (!question.is_http) {
    append_line(out, question);
    out.append("\n");
    return;
  }
  append_request_line(out, question);
  out.append("\r\nHost: storm\r\n");
  if (question.payload_bytes != 0) {
    out.append("Content-Length: ").append(std::to_string(question.payload_bytes)).append("\r\n");
  }
  out.append("\r\n").append(payload_of(question));
}

// "no route for 'INLINE 17 3 abc'": the host shows 64 bytes of the first line.
inline void append_no_route(std::string& out, const Question& question) {
  constexpr size_t kShownBytes = 64;
  std::string line;
  question.is_http ? append_request_line(line, question) : append_line(line, question);
  out.append(question.is_http ? "" : "ERR ").append("no route for '");
  out.append(line, 0, kShownBytes).append(line.size() > kShownBytes ? "...'\n" : "'\n");
}

inline void append_body(std::string& out, const Question& question, char state) {
  if (state == kAbsent) return append_no_route(out, question);
  out.append(kWords[question.route]).append(" ").append(1, state).append(" ");
  out.append(std::to_string(question.serial)).append(" ").append(payload_of(question));
  out.append(" ").append(question.fill_bytes, state).append("\n");
}

// The answer of a module in that state. `date`: that of the answer that came, for nobody else can
// know it; what it looks like is checked by its length only.
inline void append_answer(std::string& out, const Question& question, char state,
                          std::string_view date) {
  if (!question.is_http) return append_body(out, question, state);
  std::string body;
  append_body(body, question, state);
  out.append(state == kAbsent ? "HTTP/1.1 404 Not Found\r\n" : "HTTP/1.1 200 OK\r\n");
  out.append("Content-Type: text/plain; charset=utf-8\r\n").append(kDateHeader).append(date);
  out.append("\r\nContent-Length: ").append(std::to_string(body.size())).append("\r\n\r\n");
  out.append(body);
}

inline std::string_view date_of(std::string_view answer) {
  const size_t at = answer.find(kDateHeader);
  if (at == std::string_view::npos) return {};
  return answer.substr(at + kDateHeader.size(), kDateBytes);
}

// How many bytes of `received` the answer to that framing is; 0: it is not all there.
inline size_t answer_bytes(std::string_view received, bool is_http) {
  if (!is_http) {
    const size_t end = received.find('\n');
    return end == std::string_view::npos ? 0 : end + 1;
  }
  constexpr std::string_view kLength = "Content-Length: ";
  const size_t head_end = received.find("\r\n\r\n");
  if (head_end == std::string_view::npos) return 0;
  const std::string_view head = received.substr(0, head_end);
  const size_t length_at = head.find(kLength);
  size_t body_bytes = 0;
  for (size_t i = length_at + kLength.size(); length_at != std::string_view::npos; ++i) {
    if (i >= head.size() || head[i] < '0' || head[i] > '9') break;
    body_bytes = 10 * body_bytes + static_cast<size_t>(head[i] - '0');
  }
  const size_t all = head_end + 4 + body_bytes;
  return received.size() < all ? 0 : all;
}

// The states of the three modules after each reload. Number 0 is how the server began.
struct History {
  std::vector<std::string> states;
  size_t completed = 0;  // the number of the last reload whose answer has come

  size_t started() const { return states.size() - 1; }
};

// The latencies of one stretch of time, to within 2 %.
class Latencies {
 public:
  void add(uint64_t nanoseconds) {
    ++counts_[bucket_of(nanoseconds)];
    ++count_;
    max_ = std::max(max_, nanoseconds);
  }
  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }
  uint64_t quantile(double part) const {
    const auto rank = static_cast<uint64_t>(part * static_cast<double>(count_));
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen > rank) return std::min(max_, floor_of(i + 1));
    }
    return max_;
  }

 private:
  // 64 buckets for each power of two.
  static constexpr unsigned kBits = 6;
  static size_t bucket_of(uint64_t value) {
    if (value < (1U << kBits)) return value;
    const auto shift = static_cast<unsigned>(63 - __builtin_clzll(value)) - kBits;
    return ((shift + 1) << kBits) + (value >> shift) - (1U << kBits);
  }
  static uint64_t floor_of(size_t bucket) {
    if (bucket < (1U << kBits)) return bucket;
    const size_t shift = (bucket >> kBits) - 1;
    return ((bucket & ((1U << kBits) - 1)) + (1U << kBits)) << shift;
  }

  std::array<uint64_t, 64 << kBits> counts_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace storm
