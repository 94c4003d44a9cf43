#include "wire/line_framer.h"

#include <algorithm>
#include <cstring>

#include "wire/first_line.h"

namespace hrmr::wire {

Frame LineFramer::next(char* input, size_t size, bool at_end, Request& request,
                       HeaderTable& headers) {
  Frame frame;
  if (looked_ == start_) {
    start_ += leading_empty_lines({input + start_, size - start_});
    looked_ = start_;
  }
  const size_t bound = start_ + std::min(size - start_, line_bytes_max_);
  const void* found =
      bound == looked_ ? nullptr : std::memchr(input + looked_, '\n', bound - looked_);
  const bool is_too_long = found == nullptr && bound - start_ == line_bytes_max_;
  if (is_too_long) {
    frame.kind = FrameKind::kRefused;
    frame.reply = kLineTooLongReply;
    frame.reason = "a line is too long";
    return frame;
  }
  const size_t line_end =
      found == nullptr ? size : static_cast<size_t>(static_cast<const char*>(found) - input);
  const std::string_view line = first_line({input + start_, line_end - start_});
  // A lone '\r' may be the first half of an empty line; behind the peer's last byte it is nothing.
  const bool is_request = (found != nullptr || at_end) && !line.empty();
  if (!is_request) {
    if (line.empty()) {
      frame.consumed = start_;
      start_ = looked_ = 0;
    } else {
      looked_ = size;
    }
    return frame;
  }
  request = Request();
  request.framing = Framing::kLine;
  request.bytes = line;
  headers.count = 0;
  frame.kind = FrameKind::kRequest;
  frame.consumed = found == nullptr ? size : line_end + 1;
  start_ = looked_ = 0;
  return frame;
}

}  // namespace hrmr::wire
