#include "wire/json_text.h"

#include <cstdint>

namespace hrmr::wire {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// The letter of a two-character escape; 0: it has none.
char short_escape(char c) {
  switch (c) {
    case '"':
    case '\\':
      return c;
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

bool is_plain(char c) { return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\'; }
bool passes(char c, bool is_text) { return is_plain(c) && (is_text || (c & 0x80) == 0); }

// How many bytes the sequence that begins at `at` has; 0: it is none (RFC 3629 section 4).
size_t sequence_bytes(const unsigned char* at, size_t left) {
  const unsigned char first = at[0];
  if (first < 0x80) return 1;
  const size_t bytes = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || left < bytes) return 0;
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  if (at[1] < low || at[1] > high) return 0;
  for (size_t i = 2; i < bytes; ++i) {
    if ((at[i] & 0xc0) != 0x80) return 0;
  }
  return bytes;
}

}  // namespace

bool is_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  size_t left = text.size();
  while (left != 0) {
    uint64_t word = 0;
    if (left >= sizeof word) std::memcpy(&word, at, sizeof word);
    const bool is_ascii = left >= sizeof word && (word & 0x8080808080808080u) == 0;
    const size_t bytes = is_ascii ? sizeof word : sequence_bytes(at, left);
    if (bytes == 0) return false;
    at += bytes;
    left -= bytes;
  }
  return true;
}

size_t json_string_bytes(std::string_view text) {
  const bool is_text = is_utf8(text);
  size_t bytes = 2 + text.size();
  for (const char c : text) {
    if (!passes(c, is_text)) bytes += short_escape(c) != 0 ? 1 : 5;
  }
  return bytes;
}

char* put_json_string(char* at, std::string_view text) {
  const bool is_text = is_utf8(text);
  *at++ = '"';
  for (const char c : text) {
    if (passes(c, is_text)) {
      *at++ = c;
    } else if (const char letter = short_escape(c); letter != 0) {
      *at++ = '\\';
      *at++ = letter;
    } else {
      at = put_text(at, "\\u00");
      *at++ = kHexDigits[static_cast<unsigned char>(c) >> 4];
      *at++ = kHexDigits[static_cast<unsigned char>(c) & 15];
    }
  }
  *at++ = '"';
  return at;
}

size_t base64_bytes(std::string_view bytes) { return (bytes.size() + 2) / 3 * 4; }

char* put_base64(char* at, std::string_view bytes) {
  while (!bytes.empty()) {
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0u);
    }
    for (size_t i = 0; i < 4; ++i) {
      *at++ = i <= bytes.size() ? kBase64Digits[group >> (18 - 6 * i) & 63] : '=';
    }
    bytes.remove_prefix(bytes.size() < 3 ? bytes.size() : 3);
  }
  return at;
}

}  // namespace hrmr::wire
