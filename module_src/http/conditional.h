// Conditional: what the preconditions of a request make of it (RFC 9110 section 13). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "date.h"
#include "etag.h"

namespace http {

// The fields of a request; one whose `data()` is null was not sent. A field that came more than
// once and is no list is given as kRepeated, which is no date and no tag.
struct Conditions {
  std::string_view if_match;
  std::string_view if_none_match;
  std::string_view if_modified_since;
  std::string_view if_unmodified_since;
  std::string_view if_range;
};

constexpr std::string_view kRepeated = "sent more than once";

inline bool was_sent(std::string_view field) { return field.data() != nullptr; }

// What they are compared with: of the representation that a 200 would send.
struct Validators {
  Etag etag;
  int64_t modified_s = 0;  // of Last-Modified
  int64_t now_s = 0;
};

enum class Verdict {
  kGo,           // as if there were no conditions
  kNotModified,  // 304
  kFailed,       // 412
};

// For GET and HEAD, in the order of section 13.2.2.
inline Verdict judge(const Conditions& asked, const Validators& current) {
  if (was_sent(asked.if_match)) {
    if (!etag_list_has(asked.if_match, current.etag, true)) return Verdict::kFailed;
  } else if (was_sent(asked.if_unmodified_since)) {
    const std::optional<int64_t> date = parse_date(asked.if_unmodified_since, current.now_s);
    if (date.has_value() && current.modified_s > *date) return Verdict::kFailed;
  }
  if (was_sent(asked.if_none_match)) {
    if (etag_list_has(asked.if_none_match, current.etag, false)) return Verdict::kNotModified;
  } else if (was_sent(asked.if_modified_since)) {
    const std::optional<int64_t> date = parse_date(asked.if_modified_since, current.now_s);
    if (date.has_value() && current.modified_s <= *date) return Verdict::kNotModified;
  }
  return Verdict::kGo;
}

// Whether a Range is to be honoured (section 13.1.5). Nothing but the very same bytes will do: a
// tag is compared strongly, and a date, which must be exactly ours, counts only when the second
// that it names is over (section 8.8.2.2).
inline bool range_applies(std::string_view if_range, const Validators& current) {
  if (!was_sent(if_range)) return true;
  Etag etag;
  std::string_view rest = if_range;
  if (take_etag(rest, etag)) return rest.empty() && etag.is_strongly(current.etag);
  const std::optional<int64_t> date = parse_date(if_range, current.now_s);
  return date.has_value() && *date == current.modified_s && current.now_s > current.modified_s;
}

}  // namespace http
