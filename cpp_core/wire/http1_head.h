// HeadParser: the request line and the header section of one HTTP/1 request, strictly (RFC 9112
// sections 2 to 5), and what they say about the body's framing.
//
// It is asked again with the same bytes and more, keeps offsets only, and reads each line once; a
// line that came in pieces is searched for its end first, so one byte at a time costs no more than
// all at once.
//
// Threads: belongs to its framer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "wire/http1_verdict.h"
#include "wire/request.h"

namespace hrmr::wire {

// What the rest of the framing needs of a head. Survives between calls, so: no views.
struct HeadFacts {
  uint64_t content_length = 0;  // UINT64_MAX for what does not fit
  uint32_t method_bytes = 0;
  uint32_t target_bytes = 0;
  uint16_t header_count = 0;
  uint8_t http_minor = 0;
  bool has_host : 1 = false;
  bool has_length : 1 = false;
  bool has_coding : 1 = false;  // a Transfer-Encoding header
  bool is_chunked : 1 = false;
  bool says_close : 1 = false;
  bool says_keep_alive : 1 = false;
  bool expects_continue : 1 = false;
  bool expects_other : 1 = false;
};

class HeadParser {
 public:
  explicit HeadParser(size_t head_bytes_max, size_t headers_max = limits::kHttpHeadersMax,
                      size_t target_bytes_max = limits::kHttpTargetBytesMax)
      : bytes_max_(head_bytes_max),
        headers_max_(headers_max),
        target_bytes_max_(target_bytes_max) {}

  // `head` begins at the request line and may run on behind the header section. kGood: the head is
  // whole and its framing is decided. `headers` is filled in only when this call has seen the head
  // from its first line on; otherwise restore_headers does it.
  Verdict advance(std::string_view head, bool at_end, HeaderTable& headers);

  // No byte of a request line has been seen.
  bool is_untouched() const { return looked_ == 0 && line_ == 0; }
  // Bytes of the head with the empty line that ends it, once advance said kGood.
  size_t head_bytes() const { return line_; }
  const HeadFacts& facts() const { return facts_; }

  // Fills `headers` from the same head, which may have moved, after advance said kGood.
  void restore_headers(std::string_view head, HeaderTable& headers) const;

  void reset() {
    line_ = looked_ = 0;
    facts_ = HeadFacts();
  }

 private:
  Verdict read_line(const char* head, const char* end, HeaderTable* headers, bool& is_last);
  Verdict note(const Header& header);
  Verdict decide() const;

  size_t bytes_max_;
  size_t headers_max_;
  size_t target_bytes_max_;
  size_t line_ = 0;    // where the line under way begins
  size_t looked_ = 0;  // up to here there is no line end for it
  HeadFacts facts_;
};

// One header line of [line, end). kGood: `next` is the byte behind it, and `header.name.size` is 0
// for the empty line that ends the section.
Verdict parse_header_line(const char* line, const char* end, Header& header, const char*& next);

}  // namespace hrmr::wire
