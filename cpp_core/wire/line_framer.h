// LineFramer: a request is what comes up to '\n', without it and one '\r' before it, or up to the
// peer's half-close. Empty lines are skipped.
//
// Threads: belongs to its connection's loop.
#pragma once

#include "wire/framer.h"

namespace hrmr::wire {

// The answer to a line that is too long; the connection is closed behind it.
inline constexpr std::string_view kLineTooLongReply = "ERR Protocol error: the line is too long\n";

// The answer to a line that did not come in time; the connection is closed behind it.
inline constexpr std::string_view kLineTimeoutReply = "ERR timeout: the line did not end in time\n";

class LineFramer final : public Framer {
 public:
  explicit LineFramer(const FrameLimits& frame_limits)
      : line_bytes_max_(frame_limits.line_bytes_max) {}

  Frame next(char* input, size_t size, bool at_end, Request& request,
             HeaderTable& headers) override;
  Framing framing() const override { return Framing::kLine; }

 private:
  size_t line_bytes_max_;
  size_t start_ = 0;   // behind the empty lines in front
  size_t looked_ = 0;  // up to here there is no '\n'
};

}  // namespace hrmr::wire
