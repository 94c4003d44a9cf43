// Etag: entity tags (RFC 9110 section 8.8.3): made of what the kernel tells about a file, compared,
// and found in lists. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace http {

// As it is sent: W/"..." or "...". A view into the header it was read from, or into an EtagText.
struct Etag {
  bool is_weak = false;
  std::string_view opaque;  // quotes included

  // Section 8.8.3.2.
  bool is_strongly(const Etag& other) const {
    return !is_weak && !other.is_weak && opaque == other.opaque;
  }
  bool is_weakly(const Etag& other) const { return opaque == other.opaque; }
};

// The tag of a file: its inode, size and modification time. A file that may still change without
// looking changed (see is_settled) gets a weak one, which no range is resumed by.
class EtagText {
 public:
  EtagText() = default;
  EtagText(uint64_t inode, uint64_t size, int64_t modified_ns, bool is_weak) {
    if (is_weak) put("W/");
    put("\"");
    put_hex(inode);
    put("-");
    put_hex(size);
    put("-");
    put_hex(static_cast<uint64_t>(modified_ns));
    put("\"");
  }
  std::string_view view() const { return {text_, size_}; }
  Etag etag() const {
    const bool is_weak = size_ != 0 && text_[0] == 'W';
    return {is_weak, view().substr(is_weak ? 2 : 0)};
  }

 private:
  void put(std::string_view part) {
    for (const char c : part) text_[size_++] = c;
  }
  void put_hex(uint64_t number) {
    int digits = 1;
    while (digits < 16 && number >> (4 * digits) != 0) ++digits;
    while (digits-- > 0) text_[size_++] = "0123456789abcdef"[number >> (4 * digits) & 15];
  }

  size_t size_ = 0;
  char text_[2 + 3 * 16 + 4] = {};
};

// Takes one tag off the front of `text`: false, and `text` is left as it is, if there is none.
inline bool take_etag(std::string_view& text, Etag& etag) {
  std::string_view rest = text;
  const bool is_weak = rest.substr(0, 2) == "W/";
  if (is_weak) rest.remove_prefix(2);
  if (rest.empty() || rest.front() != '"') return false;
  for (size_t i = 1; i < rest.size(); ++i) {
    const auto c = static_cast<unsigned char>(rest[i]);
    if (c == '"') {
      etag = {is_weak, rest.substr(0, i + 1)};
      text = rest.substr(i + 1);
      return true;
    }
    if (c <= 0x20 || c == 0x7f) return false;
  }
  return false;
}

// If-Match and If-None-Match (sections 13.1.1 and 13.1.2): "*", or tags separated by commas, empty
// elements allowed. Which of them is there, by strong or by weak comparison. A list that is broken
// counts up to where it breaks.
inline bool etag_list_has(std::string_view list, const Etag& etag, bool is_strong) {
  const auto skip = [&list](std::string_view chars) {
    while (!list.empty() && chars.find(list.front()) != std::string_view::npos)
      list.remove_prefix(1);
  };
  skip(" \t");
  if (list == "*") return true;
  for (;;) {
    skip(" \t,");
    Etag listed;
    if (!take_etag(list, listed)) return false;
    if (is_strong ? listed.is_strongly(etag) : listed.is_weakly(etag)) return true;
    skip(" \t");
    if (!list.empty() && list.front() != ',') return false;
  }
}

}  // namespace http
