// HttpFramer: one HTTP/1.1 or 1.0 message per request: head (http1_head.h), then a body of
// Content-Length bytes or a chunked one (http1_body.h). The framing is decided once, strictly, when
// the head is whole; what is ambiguous is refused.
//
// Threads: belongs to its connection's loop.
#pragma once

#include "wire/framer.h"
#include "wire/http1_body.h"
#include "wire/http1_head.h"

namespace hrmr::wire {

class HttpFramer final : public Framer {
 public:
  explicit HttpFramer(const FrameLimits& frame_limits)
      : head_(frame_limits.head_bytes_max, frame_limits.headers_max, frame_limits.target_bytes_max),
        body_bytes_max_(frame_limits.body_bytes_max) {}

  Frame next(char* input, size_t size, bool at_end, Request& request,
             HeaderTable& headers) override;
  Framing framing() const override { return Framing::kHttp; }
  bool is_in_body() const override { return has_head_; }

 private:
  // Offsets behind the input's first byte.
  size_t head_end() const { return head_start_ + head_.head_bytes(); }
  Verdict read_head(std::string_view input, bool at_end, HeaderTable& headers);
  Verdict begin_body();
  Verdict read_body(char* input, size_t size, bool at_end);
  Frame complete(const char* input, Request& request, HeaderTable& headers);
  Frame unfinished();

  HeadParser head_;
  ChunkedDecoder chunks_;
  size_t body_bytes_max_;
  size_t head_start_ = 0;  // behind the empty lines in front
  bool has_head_ = false;
  bool is_continue_sent_ = false;
};

}  // namespace hrmr::wire
