// Which bytes may stand where in HTTP (RFC 9110 section 5.6.2, RFC 9112 section 3), and fast
// searches for the first that may not. Pure functions; they read no byte at or past `end`.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace hrmr::wire {

static_assert(std::endian::native == std::endian::little, "find_* take the lowest byte as first");

namespace char_class {

// Letters, digits and `others`.
constexpr std::array<bool, 256> table_with(std::string_view others) {
  std::array<bool, 256> table{};
  for (char c = 'a'; c <= 'z'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c = 'A'; c <= 'Z'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (char c = '0'; c <= '9'; ++c) table[static_cast<unsigned char>(c)] = true;
  for (const char c : others) table[static_cast<unsigned char>(c)] = true;
  return table;
}
inline constexpr std::array<bool, 256> kToken = table_with("!#$%&'*+-.^_`|~");
// RFC 3986 section 3.2.2: a registered name or an IPv4 address.
inline constexpr std::array<bool, 256> kHost = table_with("-._~%!$&'()*+,;=");

inline constexpr uint64_t kOnes = 0x0101010101010101u;
inline constexpr uint64_t kHighBits = 0x8080808080808080u;

// The high bit of each byte of `word` that is below `bound` (1 to 128). The lowest one is exact;
// those above it may be borrows.
constexpr uint64_t bytes_below(uint64_t word, uint64_t bound) {
  return (word - kOnes * bound) & ~word & kHighBits;
}
constexpr uint64_t bytes_equal(uint64_t word, uint64_t value) {
  return bytes_below(word ^ (kOnes * value), 1);
}

}  // namespace char_class

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_blank(char c) { return c == ' ' || c == '\t'; }
inline bool is_token_char(char c) { return char_class::kToken[static_cast<unsigned char>(c)]; }
inline bool is_host_char(char c) { return char_class::kHost[static_cast<unsigned char>(c)]; }
// CTL but for the tab, which is whitespace.
inline bool is_control(char c) {
  return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
}

inline bool is_token(std::string_view text) {
  for (const char c : text) {
    if (!is_token_char(c)) return false;
  }
  return !text.empty();
}

inline const char* skip_token(const char* from, const char* end) {
  while (from != end && is_token_char(*from)) ++from;
  return from;
}

// The first control byte (is_control), or `end`.
inline const char* find_control(const char* from, const char* end) {
  using namespace char_class;
  while (end - from >= 8) {
    uint64_t word;
    std::memcpy(&word, from, sizeof word);
    const uint64_t found = bytes_below(word, 0x20) | bytes_equal(word, 0x7f);
    if (found == 0) {
      from += 8;
      continue;
    }
    from += std::countr_zero(found) / 8;
    if (*from != '\t') return from;
    ++from;
  }
  while (from != end && !is_control(*from)) ++from;
  return from;
}

// The first byte that is not visible ASCII (0x21 to 0x7e), or `end`.
inline const char* find_invisible(const char* from, const char* end) {
  using namespace char_class;
  while (end - from >= 8) {
    uint64_t word;
    std::memcpy(&word, from, sizeof word);
    const uint64_t found = bytes_below(word, 0x21) | bytes_equal(word, 0x7f) | (word & kHighBits);
    if (found != 0) return from + std::countr_zero(found) / 8;
    from += 8;
  }
  while (from != end && static_cast<unsigned char>(*from - 0x21) <= 0x7e - 0x21) ++from;
  return from;
}

// `text` without the blanks around it.
inline std::string_view trim_blanks(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace hrmr::wire
