// RespFramer: a request is one RESP array of bulk strings, the same in RESP2 and RESP3:
// "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n". What is wrong with one is said in Redis 7.0's words.
//
// Stricter than Redis in one place: where it skips two bytes unseen (the '\n' of a length's line,
// the line end of a bulk string), these must be what they should be. A client whose lengths are
// wrong is thus told so at once, and its payload is not read as commands.
//
// Threads: belongs to its connection's loop.
#pragma once

#include "wire/framer.h"

namespace hrmr::wire {

class RespFramer final : public Framer {
 public:
  explicit RespFramer(const FrameLimits& frame_limits)
      : elements_max_(frame_limits.elements_max),
        bulk_bytes_max_(frame_limits.bulk_bytes_max),
        command_bytes_max_(frame_limits.command_bytes_max) {}

  // An array without elements is FrameKind::kEmpty. The reply of a refusal lives in the framer.
  Frame next(char* input, size_t size, bool at_end, Request& request,
             HeaderTable& headers) override;
  Framing framing() const override { return Framing::kResp; }
  bool is_in_body() const override { return part_ == Part::kBulk; }

 private:
  enum class Part : uint8_t { kCount, kLength, kBulk };
  enum class Found : uint8_t { kNeedMore, kLine, kTooLong };

  Found find_line(std::string_view input, std::string_view& line);
  // One part of the array. kRequest: go on with the next one.
  Frame take_count(std::string_view input);
  Frame take_length(std::string_view input);
  Frame take_bulk(std::string_view input);
  Frame refuse(std::string_view reason);

  size_t elements_max_;
  size_t bulk_bytes_max_;
  size_t command_bytes_max_;
  Part part_ = Part::kCount;
  size_t at_ = 0;      // where the part begins that is not all there
  size_t looked_ = 0;  // up to here its line has no end
  size_t left_ = 0;    // elements still to come
  size_t bulk_bytes_ = 0;
  size_t name_at_ = 0;  // of the first element; 0: it is not there yet
  size_t name_bytes_ = 0;
  char reply_[64] = {};
};

}  // namespace hrmr::wire
