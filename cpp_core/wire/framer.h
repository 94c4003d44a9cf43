// Framer: finds where one request ends in the bytes of a connection. One subclass per framing.
//
// A framer is asked again and again with the same unconsumed bytes, of which there are more each
// time; it keeps in itself how far it has looked, as offsets, so that one byte at a time costs no
// more than all at once and the buffer may move between calls. It owns no memory.
//
// The input is writable, because a chunked body is decoded in place, behind its head.
//
// Threads: a framer belongs to its connection's loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string_view>

#include "wire/request.h"

namespace hrmr::wire {

struct FrameLimits {
  size_t line_bytes_max = limits::kLineBytesMax;
  size_t head_bytes_max = limits::kHttpHeadBytesMax;
  size_t target_bytes_max = limits::kHttpTargetBytesMax;
  size_t headers_max = limits::kHttpHeadersMax;  // up to kHttpHeaderSlots
  size_t body_bytes_max = limits::kBodyBytesMax;
  size_t elements_max = limits::kRespElementsMax;
  size_t bulk_bytes_max = limits::kRespBulkBytesMax;
  size_t command_bytes_max = limits::kRespCommandBytesMax;
};

enum class FrameKind : uint8_t {
  kNeedMore,  // not all there yet; the caller drops `consumed` bytes (empty lines in front)
  kRequest,   // `request` is set; the next one begins `consumed` bytes on
  kEmpty,     // the `consumed` bytes hold no request; the framing of what follows is chosen anew
  kInterim,   // send `reply` (100 Continue), then ask again; nothing is consumed
  kRefused,  // send `reply` as it is and close; no byte of this connection is read as a request any
             // more
};

struct Frame {
  FrameKind kind = FrameKind::kNeedMore;
  size_t consumed = 0;
  std::string_view reply;   // static storage, or the framer's own
  std::string_view reason;  // kRefused: why, for the log; as reply
};

class Framer {
 public:
  virtual ~Framer() = default;
  // `input`: the unconsumed bytes, `size` of them. `at_end`: the peer has sent its last byte. On
  // kRequest, `request` and `headers` are filled in; the framer is then ready for the next request,
  // which begins at input + consumed.
  virtual Frame next(char* input, size_t size, bool at_end, Request& request,
                     HeaderTable& headers) = 0;
  virtual Framing framing() const = 0;
  // After kNeedMore: what is missing is of a body, or of anything else whose length was announced,
  // and may take as long as its bytes take; a head or a line has to end in time.
  virtual bool is_in_body() const { return false; }
};

// Room for one framer of any kind inside a connection.
class FramerSlot {
 public:
  FramerSlot() = default;
  FramerSlot(const FramerSlot&) = delete;
  FramerSlot& operator=(const FramerSlot&) = delete;
  ~FramerSlot() { reset(); }

  Framer* get() { return framer_; }
  Framer& choose(Framing framing, const FrameLimits& frame_limits);
  void reset() {
    if (framer_ != nullptr) framer_->~Framer();
    framer_ = nullptr;
  }

 private:
  template <class Kind, class... Arguments>
  Framer* place(Arguments&&... arguments);

  static constexpr size_t kBytes = 176;
  alignas(std::max_align_t) unsigned char storage_[kBytes];
  Framer* framer_ = nullptr;
};

}  // namespace hrmr::wire
