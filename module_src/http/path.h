// Path: from the target of a request to the name of a file below the served folder, and back. Pure;
// no allocation on the way in.
#pragma once

#include <strings.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace http {

// The kernel takes no longer path (PATH_MAX, its NUL included).
constexpr size_t kPathBytesMax = 4095;

enum class PathKind {
  kFile,       // names a file, or a folder without its slash
  kFolder,     // ends in a slash
  kHidden,     // below a name with a leading dot: answered as if it were not there
  kTooLong,    // no file can have it
  kMalformed,  // not a path that an honest client sends
};

// "docs/a b.html": relative, decoded, without empty segments; empty for the folder itself.
// NUL-terminated. Appending keeps to the room there is.
class Path {
 public:
  Path() { text_[0] = '\0'; }
  std::string_view view() const { return {text_, size_}; }
  const char* c_str() const { return text_; }
  bool is_empty() const { return size_ == 0; }
  size_t size() const { return size_; }

  bool append(char c) {
    if (size_ == kPathBytesMax) return false;
    text_[size_++] = c;
    text_[size_] = '\0';
    return true;
  }
  bool append(std::string_view text) {
    if (text.size() > kPathBytesMax - size_) return false;
    std::memcpy(text_ + size_, text.data(), text.size());
    size_ += text.size();
    text_[size_] = '\0';
    return true;
  }
  void truncate(size_t size) {
    size_ = size;
    text_[size_] = '\0';
  }

 private:
  size_t size_ = 0;
  char text_[kPathBytesMax + 1];  // NOLINT: only what was appended is read
};

namespace detail {

inline int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// What no name may have here: a slash that came encoded, a backslash (a slash to some clients and
// proxies), NUL and the other control characters.
inline bool is_refused(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7f || c == '/' || c == '\\';
}

// Appends `segment`, percent-decoded once: what comes out is never decoded again.
inline PathKind append_decoded(std::string_view segment, Path& out) {
  for (size_t i = 0; i < segment.size(); ++i) {
    char c = segment[i];
    if (c == '%') {
      if (segment.size() - i < 3) return PathKind::kMalformed;
      const int high = hex_value(segment[i + 1]);
      const int low = hex_value(segment[i + 2]);
      if (high < 0 || low < 0) return PathKind::kMalformed;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (is_refused(c)) return PathKind::kMalformed;
    if (!out.append(c)) return PathKind::kTooLong;
  }
  return PathKind::kFile;
}

// "http://host/a/b" (RFC 9112 section 3.2.2: every server must take it) is "/a/b".
inline std::string_view without_authority(std::string_view target) {
  for (const std::string_view scheme :
       {std::string_view("http://"), std::string_view("https://")}) {
    if (target.size() < scheme.size()) continue;
    if (::strncasecmp(target.data(), scheme.data(), scheme.size()) != 0) continue;
    const size_t slash = target.find('/', scheme.size());
    return slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  return target;
}

}  // namespace detail

// Decodes a target without its query into `out`, which must be empty. "." and ".." are refused, not
// resolved: clients resolve them before they ask, and whoever does not is trying something.
inline PathKind decode_path(std::string_view target, Path& out) {
  if (target.empty() || target.front() != '/') target = detail::without_authority(target);
  if (target.empty() || target.front() != '/') return PathKind::kMalformed;
  bool is_hidden = false;
  bool is_too_long = false;
  bool ends_in_slash = true;
  while (!target.empty()) {
    target.remove_prefix(1);  // the slash in front of this segment
    const std::string_view segment = target.substr(0, target.find('/'));
    target.remove_prefix(segment.size());
    ends_in_slash = segment.empty();
    if (segment.empty()) continue;

    // What is too long to be a path is looked at to its end all the same: malformed comes first.
    if (is_too_long) out.truncate(0);
    is_too_long = (!out.is_empty() && !out.append('/')) || is_too_long;
    const size_t start = out.size();
    const PathKind decoded = detail::append_decoded(segment, out);
    if (decoded == PathKind::kMalformed) return decoded;
    if (decoded == PathKind::kTooLong) {
      is_too_long = true;
      continue;  // only the beginning of a name is there
    }
    const std::string_view name = out.view().substr(start);
    if (name == "." || name == "..") return PathKind::kMalformed;
    // RFC 8615 puts one dotted folder at the root of a site.
    const bool is_dotted = !name.empty() && name.front() == '.';
    if (is_dotted && !(start == 0 && name == ".well-known")) is_hidden = true;
  }
  if (is_too_long) return PathKind::kTooLong;
  if (is_hidden) return PathKind::kHidden;
  return ends_in_slash ? PathKind::kFolder : PathKind::kFile;
}

// The reverse, for Location: everything that is not plainly part of a name is escaped.
inline std::string encode_path(std::string_view path) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  static constexpr std::string_view kPlain = "-._~/";
  std::string out;
  for (const char c : path) {
    const bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                          (c >= 'a' && c <= 'z') || kPlain.find(c) != std::string_view::npos;
    if (is_plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

}  // namespace http
