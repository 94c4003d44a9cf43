// ReplyWriter: one reply, written straight into the buffer it is sent from.
//
// In line, raw and RESP framing the body's bytes are the reply. In HTTP the writer puts the head in
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

#include "base/output.h"
#include "wire/http_texts.h"
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
  ValueForm form = ValueForm::kNone;  // not kNone: the body is a ValueWriter's
  bool is_silent = false;             // nothing is sent, errors included
};

class ReplyWriter {
 public:
  ReplyWriter(Output& out, const ReplyFacts& facts)
      : out_(out),
        facts_(facts),
        start_(out.size()),
        files_start_(out.file_count()),
        closes_(!facts.keep_alive) {}

  // What the status or HEAD forbids to send (RFC 9110 sections 9.3.2 and 15) is taken and dropped.
  WriteResult write(std::string_view bytes);
  char* reserve(size_t bytes);  // nullptr: too large, or too late
  WriteResult commit(size_t bytes);
  // The next bytes of the body are those of the file. They do not count as held in memory.
  WriteResult send_file(FileRange range);
  WriteResult set_status(int status);  // 200 to 599
  // A name's first letters are made capitals: "content-type" is sent as "Content-Type".
  WriteResult add_header(std::string_view name, std::string_view value);
  void close_after();  // also after the first byte of the body, as far as the head still allows

  // Drops what was written. HTTP: `status` (400 to 599, else 500) with `message` and a newline as
  // its body. Line: "ERR message\n" (for 503, "503 message\n"), line feeds in it made spaces. Raw:
  // as line. An empty message becomes the status's phrase. The writer takes no more writes then.
  // `retry_after_s` > 0 adds Retry-After (HTTP).
  void fail(int status, std::string_view message, int retry_after_s = 0);

  // The same for commands, with an error code as Redis has them: one word of capitals. RESP:
  // "-CODE message\r\n" (but to a line, 503 is answered as above); JSON:
  // {"error":{"code":"CODE","message":"message"}}. `fail` takes the code from the status: BUSY for
  // 503, NOPERM for 403, ERR else.
  void fail_as(std::string_view code, std::string_view message, int status = 500,
               int retry_after_s = 0);
  // The same for a method that is not taken: 405, with `allowed` in Allow.
  void fail_method(std::string_view message, std::string_view allowed);

  // The reply leaves in pieces from now on. `length`: of the whole body; negative: not known, so it
  // is sent in chunks (RFC 9112 section 7.1), or to HTTP/1.0 until the close. Before the body.
  WriteResult begin_stream(int64_t length);
  // Frames what was written since the last piece, or drops it if the reply is silent. Of others all
  // of `out` is then taken away, which piece_is_gone is told. From the first piece that was, an
  // error can only break the connection off.
  void end_piece();
  void piece_is_gone();
  Output& output() { return out_; }
  // It broke off, and the close would look like its end: the connection is to be reset.
  bool aborts() const { return aborts_; }

  // What was refused because it was too large is missing in the reply.
  void note_refused() { has_refused_ = true; }
  // Completes the reply. Once, last.
  void finish();
  // The same for who does not look at what write and the others say: an error when anything was too
  // large.
  void finish_whole();
  // Whether the client gets it at all (CLIENT REPLY), instead of what the facts said.
  void set_silent(bool is_silent) { facts_.is_silent = is_silent; }
  bool is_silent() const { return facts_.is_silent; }
  // Instead of that: drops what was written and takes nothing more. `out` may then be used by
  // others.
  void abandon();

  bool closes() const { return closes_; }
  size_t bytes_max() const { return facts_.bytes_max; }
  bool has_failed() const { return failed_; }

 private:
  struct ErrorHeader {
    std::string_view name;  // empty: none
    std::string_view value;
  };
  bool is_http() const { return facts_.framing == Framing::kHttp; }
  bool sends_body() const;
  bool sends_length() const;
  // Of the body, in memory.
  size_t body_bytes() const { return dropped_bytes_ + out_.size() - body_start_; }
  bool fits(size_t bytes) const;
  bool takes(size_t bytes);
  void begin_head();
  void begin_body(uint64_t expected_bytes);
  void set_length();
  bool has_declared_room(uint64_t bytes) const;
  void end_head();
  void finish_stream();
  void abort();
  void fail_with(std::string_view code, std::string_view message, int status,
                 const ErrorHeader& header);
  void write_json_error(std::string_view code, std::string_view message);
  void write_line_error(std::string_view code, std::string_view message);

  Output& out_;
  ReplyFacts facts_;
  size_t start_;           // of this reply in `out_`
  size_t files_start_;     // of its files
  size_t headers_at_ = 0;  // behind the status line; 0 until there is one
  size_t length_at_ = 0;   // where the digits of Content-Length are
  size_t body_start_ = 0;  // 0 until the body has begun
  size_t reserved_bytes_ = 0;
  size_t dropped_bytes_ = 0;     // of a body that is not sent
  uint64_t file_bytes_ = 0;      // of files, sent or not
  int64_t declared_bytes_ = -1;  // of a streamed body; negative: not known
  uint64_t streamed_bytes_ = 0;  // of the body, in pieces that are framed
  uint16_t status_ = 200;
  uint8_t length_digits_ = 0;
  bool has_content_type_ = false;
  bool has_body_ = false;  // begun: the head is closed
  bool closes_;
  bool failed_ = false;
  bool finished_ = false;
  bool is_streamed_ = false;
  bool is_chunked_ = false;
  bool has_sent_ = false;  // a piece
  bool aborts_ = false;
  bool has_refused_ = false;
};

}  // namespace hrmr::wire
