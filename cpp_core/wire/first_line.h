// Which protocol do these bytes begin? Decided from the first line alone (DESIGN section 2); the
// caller has asked the raw routes before. Pure functions.
#pragma once

#include <cstddef>
#include <string_view>

#include "wire/request.h"

namespace hrmr::wire {

enum class Opening : uint8_t {
  kNeedMore,  // the first line is not all there
  kHttp,      // ends in " HTTP/x.y": HTTP, and nothing else
  kHttpLike,  // `TOKEN /...`: HTTP unless a line route claims it
  kLine,
  kTooLong,  // no line end within line_bytes_max, nor `TOKEN /`: answer "Protocol error", close
  kBinary,   // control bytes, which no line has: answer "Protocol error", close
  kForeign,  // a TLS hello, an HTTP/2 preface: close without a word
};

inline constexpr std::string_view kBinaryReply = "ERR Protocol error: control bytes in a line\n";
inline constexpr std::string_view kRawOnlyReply =
    "ERR Protocol error: what began like HTTP as a raw request goes on as none\n";

// How many bytes of empty lines ("\r\n" or "\n") there are in front, to be skipped.
size_t leading_empty_lines(std::string_view input);

// `input` begins at the first line, behind empty ones. Looks at all of that line each time.
// `at_end`: the peer has sent its last byte, which ends a line too.
Opening classify_opening(std::string_view input, bool at_end, size_t line_bytes_max);

// Whether a browser may have begun so, as far as `input` goes.
bool may_be_http(std::string_view input);

// The first line without '\n' and one '\r' before it; all of `input`, still without a last '\r',
// when it has no '\n'.
std::string_view first_line(std::string_view input);

}  // namespace hrmr::wire
