// ReplyWriter: one reply, written straight into the buffer it is sent from.
//
// In line and raw framing the body's bytes are the reply. In HTTP the writer puts the head in
// front: status line, the handler's headers, Content-Type unless given, Date, Connection where it
// says something, Content-Length. The length is written with as many digits as the first write
// needs; a body that grows past that is moved up once at the end.
//
// Until finish(), all of the reply can still be dropped and replaced by an error (fail).
//
// Lifetime: `out` outlives the writer and is appended to by nobody else until finish().
// Threads: one at a time: the loop's (inline) or a worker's (pool).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/byte_buffer.h"
#include "wire/request.h"

namespace hrmr::wire {

enum class WriteResult : int {
  kOk = 0,
  kBadArgument = 2,
  kTooLate = 3,
  kTooLarge = 4
};  // the numbers of abi.h

struct ReplyFacts {
  Framing framing = Framing::kLine;
  bool head_only = false;  // HTTP HEAD: the body is counted, not sent
  bool keep_alive = true;  // false: HTTP says "Connection: close", and closes() is true
  uint8_t http_minor = 1;
  std::string_view date;  // IMF-fixdate (RFC 9110 section 5.6.7); empty: no Date header
  size_t bytes_max = limits::kReplyBytesMax;
};

class ReplyWriter {
 public:
  ReplyWriter(ByteBuffer& out, const ReplyFacts& facts);

  WriteResult write(std::string_view bytes);
  char* reserve(size_t bytes);  // nullptr: too large
  WriteResult commit(size_t bytes);
  WriteResult set_status(int status);  // 200 to 599
  WriteResult add_header(std::string_view name, std::string_view value);
  void close_after();  // also after the first byte of the body, as far as the head still allows

  // Drops what was written. HTTP: `status` (400 to 599) with `message` and a newline as its body.
  // Line: "ERR message\n" (for 503, "503 message\n"), line feeds in it made spaces. Raw: as line.
  // The writer takes no more writes then. `retry_after_s` > 0 adds Retry-After (HTTP).
  void fail(int status, std::string_view message, int retry_after_s = 0);

  // Completes the reply. Once, last.
  void finish();

  bool closes() const { return closes_; }
  bool has_failed() const { return failed_; }

 private:
  ByteBuffer& out_;
  ReplyFacts facts_;
  size_t start_;  // of this reply in `out_`
  size_t body_start_ = 0;
  // (the implementer completes this)
  bool closes_ = false;
  bool failed_ = false;
};

// "Sun, 06 Nov 1994 08:49:37 GMT" for a UNIX time in seconds; writes exactly 29 bytes.
void format_http_date(int64_t unix_s, char* out);
// "Not Found" for 404; "Unknown" for what has no registered phrase.
std::string_view reason_phrase(int status);

}  // namespace hrmr::wire
