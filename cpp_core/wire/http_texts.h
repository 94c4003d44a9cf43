// The fixed texts of HTTP replies: dates and reason phrases. Pure functions.
#pragma once

#include <cstdint>
#include <string_view>

namespace hrmr::wire {

// "Sun, 06 Nov 1994 08:49:37 GMT" for a UNIX time in seconds; writes exactly 29 bytes.
void format_http_date(int64_t unix_s, char* out);
// "Not Found" for 404; "Unknown" for what has no registered phrase.
std::string_view reason_phrase(int status);

}  // namespace hrmr::wire
