#include "wire/framer.h"

#include <utility>

#include "base/check.h"
#include "wire/http1_framer.h"
#include "wire/line_framer.h"
#include "wire/raw_framer.h"
#include "wire/resp_framer.h"

namespace hrmr::wire {

template <class Kind, class... Arguments>
Framer* FramerSlot::place(Arguments&&... arguments) {
  static_assert(sizeof(Kind) <= kBytes, "FramerSlot::kBytes is too small for this framer");
  static_assert(alignof(Kind) <= alignof(std::max_align_t));
  return new (storage_) Kind(std::forward<Arguments>(arguments)...);
}

Framer& FramerSlot::choose(Framing framing, const FrameLimits& frame_limits) {
  reset();
  switch (framing) {
    case Framing::kLine:
      framer_ = place<LineFramer>(frame_limits);
      break;
    case Framing::kHttp:
      framer_ = place<HttpFramer>(frame_limits);
      break;
    case Framing::kRaw:
      framer_ = place<RawFramer>();
      break;
    case Framing::kResp:
      framer_ = place<RespFramer>(frame_limits);
      break;
  }
  HRMR_CHECK(framer_ != nullptr);
  return *framer_;
}

}  // namespace hrmr::wire
