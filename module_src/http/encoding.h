// Encoding: which of the codings that a file is there in a client gets (RFC 9110 section 12.5.3).
// Pure.
#pragma once

#include <strings.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace http {

// In the order in which they are preferred when the client likes them alike.
enum class Coding : uint8_t { kBrotli, kGzip, kIdentity };
constexpr size_t kCodings = 3;

// The suffix of a sibling in that coding, and its name in Content-Encoding; empty for identity.
constexpr std::string_view suffix_of(Coding coding) {
  return coding == Coding::kBrotli ? ".br" : coding == Coding::kGzip ? ".gz" : "";
}
constexpr std::string_view name_of(Coding coding) {
  return coding == Coding::kBrotli ? "br" : coding == Coding::kGzip ? "gzip" : "";
}

// What a client accepts, the best first. A value small enough to be part of a key.
struct Accepted {
  uint8_t count = 0;
  Coding order[kCodings] = {Coding::kIdentity, Coding::kIdentity, Coding::kIdentity};

  uint8_t key() const {
    unsigned key = count;
    for (const Coding coding : order) key = key * 4 + static_cast<unsigned>(coding);
    return static_cast<uint8_t>(key);
  }
  bool has(Coding coding) const {
    for (size_t i = 0; i < count; ++i) {
      if (order[i] == coding) return true;
    }
    return false;
  }
};

namespace detail {

constexpr int kUnset = -1;

// The thousandths of a qvalue (section 12.4.2), "0" to "1.000"; kUnset if it is none.
inline int parse_quality(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return kUnset;
  int quality = (text[0] - '0') * 1000;
  if (text.size() == 1) return quality;
  if (text[1] != '.') return kUnset;
  int unit = 100;
  for (const char c : text.substr(2)) {
    if (c < '0' || c > '9') return kUnset;
    quality += (c - '0') * unit;
    unit /= 10;
  }
  return quality <= 1000 ? quality : kUnset;
}

inline std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

inline bool is_same(std::string_view left, std::string_view right) {
  return left.size() == right.size() && ::strncasecmp(left.data(), right.data(), left.size()) == 0;
}

// What was said of each coding; the last one is "*".
struct Qualities {
  int of[kCodings + 1] = {kUnset, kUnset, kUnset, kUnset};
};

inline void note_element(std::string_view element, Qualities& said) {
  const size_t semicolon = element.find(';');
  const std::string_view name = trimmed(element.substr(0, semicolon));
  int quality = 1000;
  if (semicolon != std::string_view::npos) {
    const std::string_view weight = trimmed(element.substr(semicolon + 1));
    const bool is_weight = weight.size() > 2 && (weight[0] | 0x20) == 'q' && weight[1] == '=';
    quality = is_weight ? parse_quality(weight.substr(2)) : kUnset;
    if (quality == kUnset) return;  // not understood: as if it were not listed
  }
  size_t index = kCodings + 1;
  if (is_same(name, "br")) index = static_cast<size_t>(Coding::kBrotli);
  if (is_same(name, "gzip") || is_same(name, "x-gzip")) index = static_cast<size_t>(Coding::kGzip);
  if (is_same(name, "identity")) index = static_cast<size_t>(Coding::kIdentity);
  if (name == "*") index = kCodings;
  if (index <= kCodings && said.of[index] == kUnset) said.of[index] = quality;
}

}  // namespace detail

// `field`: all of Accept-Encoding, its lines joined by commas; null data when it was not sent,
// which by the letter accepts any coding, but who does not ask for one seldom reads one: identity
// then.
inline Accepted parse_accept_encoding(std::string_view field) {
  Accepted accepted;
  if (field.data() == nullptr) {
    accepted.count = 1;
    return accepted;
  }
  detail::Qualities said;
  while (!field.empty()) {
    const size_t comma = field.find(',');
    detail::note_element(field.substr(0, comma), said);
    field.remove_prefix(comma == std::string_view::npos ? field.size() : comma + 1);
  }
  const int rest = said.of[kCodings];
  int quality[kCodings];
  for (size_t i = 0; i < kCodings; ++i) {
    const bool is_identity = i == static_cast<size_t>(Coding::kIdentity);
    quality[i] = said.of[i] != detail::kUnset ? said.of[i] : rest != detail::kUnset ? rest : 0;
    // Identity is always acceptable unless it is ruled out, though less welcome than what is named.
    if (is_identity && said.of[i] == detail::kUnset && rest != 0) quality[i] = 1;
  }
  for (int best = 1000; accepted.count < kCodings && best > 0;) {
    int next = 0;
    for (size_t i = 0; i < kCodings; ++i) {
      if (quality[i] == best) accepted.order[accepted.count++] = static_cast<Coding>(i);
      if (quality[i] < best && quality[i] > next) next = quality[i];
    }
    best = next;
  }
  return accepted;
}

}  // namespace http
