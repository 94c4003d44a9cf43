// JSON as text (RFC 8259): strings and numbers into room that the caller has reserved.
//
// Pure functions; a `put_` writes at `at` and returns the place behind it.
#pragma once

#include <cstddef>
#include <cstring>
#include <string_view>

namespace hrmr::wire {

// Whether it is UTF-8 as RFC 3629 has it: no surrogates, no overlong forms.
bool is_utf8(std::string_view text);

// What put_json_string writes, quotes and escapes included.
size_t json_string_bytes(std::string_view text);
// Bytes pass as they are, but for quotes, backslashes and control bytes. Of what is not UTF-8, the
// bytes from 0x80 on are taken as ISO 8859-1 and escaped: RFC 8259 section 8.1 wants UTF-8.
char* put_json_string(char* at, std::string_view text);

// RFC 4648 section 4, padded.
size_t base64_bytes(std::string_view bytes);
char* put_base64(char* at, std::string_view bytes);

inline char* put_text(char* at, std::string_view text) {
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

}  // namespace hrmr::wire
