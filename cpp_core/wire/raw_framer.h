// RawFramer: a request is whatever has arrived.
//
// Threads: belongs to its connection's loop.
#pragma once

#include "wire/framer.h"

namespace hrmr::wire {

class RawFramer final : public Framer {
 public:
  Frame next(char* input, size_t size, bool at_end, Request& request,
             HeaderTable& headers) override;
  Framing framing() const override { return Framing::kRaw; }
};

}  // namespace hrmr::wire
