// ChunkedDecoder: a chunked body (RFC 9112 section 7.1), decoded in place: the chunks' bytes are
// moved together behind the head as they come. Chunk extensions and trailers are checked and
// dropped.
//
// Keeps offsets only, so the buffer may move between calls; each byte is moved at most once.
//
// Threads: belongs to its framer.
#pragma once

#include <cstddef>
#include <cstdint>

#include "wire/http1_verdict.h"

namespace hrmr::wire {

class ChunkedDecoder {
 public:
  // The body begins `body_start` bytes behind the `input` of advance and decodes to at most
  // `body_bytes_max` bytes.
  void begin(size_t body_start, size_t body_bytes_max) {
    *this = ChunkedDecoder();
    body_start_ = read_ = write_ = looked_ = body_start;
    body_bytes_max_ = body_bytes_max;
  }

  // kGood: the body is whole. What lies between decoded_end() and consumed() is spent.
  Verdict advance(char* input, size_t size, bool at_end);

  size_t decoded_end() const { return write_; }
  size_t consumed() const { return read_; }

 private:
  enum class Phase : uint8_t { kSize, kBytes, kBytesEnd, kTrailer, kDone };

  Verdict step(char* input, size_t size, bool at_end);
  Verdict read_size(const char* input, size_t size, bool at_end);
  Verdict move_bytes(char* input, size_t size);
  Verdict read_bytes_end(const char* input, size_t size);
  Verdict read_trailer(const char* input, size_t size, bool at_end);
  bool must_wait(const char* input, size_t end) const;

  size_t body_start_ = 0;
  size_t body_bytes_max_ = 0;
  size_t read_ = 0;       // the next byte as sent; in kSize and kTrailer always the start of a line
  size_t write_ = 0;      // where the next decoded byte goes
  size_t looked_ = 0;     // up to here the line at read_ has no end
  size_t remaining_ = 0;  // kBytes: of this chunk. kTrailer: the section may still take so many
  Phase phase_ = Phase::kSize;
};

}  // namespace hrmr::wire
