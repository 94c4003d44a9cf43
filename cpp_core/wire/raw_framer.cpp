#include "wire/raw_framer.h"

namespace hrmr::wire {

Frame RawFramer::next(char* input, size_t size, bool /*at_end*/, Request& request,
                      HeaderTable& headers) {
  Frame frame;
  if (size == 0) return frame;
  request = Request();
  request.framing = Framing::kRaw;
  request.bytes = {input, size};
  headers.count = 0;
  frame.kind = FrameKind::kRequest;
  frame.consumed = size;
  return frame;
}

}  // namespace hrmr::wire
