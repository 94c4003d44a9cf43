// Feeds bytes to a framer as a connection does, cut in any way, and notes what it says. Each call
// gets an exact-size heap copy, so that the address sanitizer sees a read past the end and a view
// that was kept from an earlier call.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "wire/first_line.h"
#include "wire/framer.h"

namespace hrmr::fuzz {

// A small generator of numbers that depend on the input alone, so that each run repeats.
class Dice {
 public:
  explicit Dice(std::string_view seed) {
    for (const char c : seed) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  // 0 to `sides` - 1.
  size_t roll(size_t sides) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return sides == 0 ? 0 : static_cast<size_t>((state_ >> 16) % sides);
  }

 private:
  uint64_t state_ = 0xcbf29ce484222325u;
};

struct SeenHeader {
  std::string name, value;
  bool operator==(const SeenHeader&) const = default;
};

// One request, copied.
struct Seen {
  std::string method, target, path, query, body, bytes;
  int http_minor = 0;
  bool keep_alive = true;
  bool head_only = false;
  std::vector<SeenHeader> headers;
  bool operator==(const Seen&) const = default;
};

struct Outcome {
  std::vector<Seen> requests;
  std::string reply;  // of the refusal
  std::string left;   // not consumed
  size_t interims = 0;
  bool is_refused = false;

  bool is_same(const Outcome& other) const {
    // What is left behind a refusal is nobody's; an interim reply depends on the cuts, and so does
    // whether an empty line in front of an unfinished request is there still.
    return requests == other.requests && is_refused == other.is_refused && reply == other.reply &&
           (is_refused || unfinished_bytes() == other.unfinished_bytes());
  }
  size_t unfinished_bytes() const { return left.size() - wire::leading_empty_lines(left); }
};

class FramerFeed {
 public:
  FramerFeed(wire::Framing framing, const wire::FrameLimits& limits)
      : framer_(slot_.choose(framing, limits)) {}

  void receive(std::string_view bytes, bool at_end) {
    if (outcome_.is_refused) return;
    outcome_.left.append(bytes);
    while (turn(at_end)) {
    }
    // Asked again without a new byte, it says the same.
    if (!outcome_.is_refused) HRMR_CHECK(!turn(at_end));
  }

  const Outcome& outcome() const { return outcome_; }

 private:
  static bool is_inside(std::string_view view, const char* input, size_t size) {
    return view.empty() || (view.data() >= input && view.data() + view.size() <= input + size);
  }

  void note(const wire::Request& request, const char* input, size_t size) {
    for (const std::string_view view : {request.bytes, request.method, request.target, request.path,
                                        request.query, request.body}) {
      HRMR_CHECK(is_inside(view, input, size));
    }
    Seen seen;
    seen.method = request.method;
    seen.target = request.target;
    seen.path = request.path;
    seen.query = request.query;
    seen.body = request.body;
    seen.bytes = request.bytes;
    seen.http_minor = request.http_minor;
    seen.keep_alive = request.keep_alive;
    seen.head_only = request.head_only;
    HRMR_CHECK(headers_->count <= std::size(headers_->items));
    for (size_t i = 0; i < headers_->count; ++i) {
      const wire::Header& header = headers_->items[i];
      HRMR_CHECK(is_inside(header.name, request.bytes.data(), request.bytes.size()));
      HRMR_CHECK(is_inside(header.value, request.bytes.data(), request.bytes.size()));
      seen.headers.push_back({std::string(header.name), std::string(header.value)});
    }
    outcome_.requests.push_back(std::move(seen));
  }

  // False: nothing more without more bytes.
  bool turn(bool at_end) {
    // RESP is what begins with '*'; what does not is another framing's.
    const bool is_resp = framer_.framing() == wire::Framing::kResp;
    if (is_resp && (outcome_.left.empty() || outcome_.left.front() != '*')) return false;
    const size_t size = outcome_.left.size();
    const std::unique_ptr<char[]> input(new char[size]);
    std::copy(outcome_.left.begin(), outcome_.left.end(), input.get());
    std::memset(static_cast<void*>(headers_.get()), 0xee, sizeof *headers_);
    headers_->count = 0;
    wire::Request request;
    const wire::Frame frame = framer_.next(input.get(), size, at_end, request, *headers_);
    HRMR_CHECK(frame.consumed <= size);
    switch (frame.kind) {
      case wire::FrameKind::kRequest:
        HRMR_CHECK(frame.consumed > 0);
        HRMR_CHECK(request.framing == framer_.framing());
        note(request, input.get(), size);
        break;
      case wire::FrameKind::kInterim:
        HRMR_CHECK(frame.consumed == 0 && !frame.reply.empty());
        // One for a request at most, or a peer could be flooded with them.
        HRMR_CHECK(++outcome_.interims <= outcome_.requests.size() + 1);
        break;
      case wire::FrameKind::kRefused:
        HRMR_CHECK(!frame.reason.empty() && !frame.reply.empty());
        outcome_.is_refused = true;
        outcome_.reply = frame.reply;
        break;
      case wire::FrameKind::kEmpty:
        HRMR_CHECK(frame.consumed > 0);
        break;
      case wire::FrameKind::kNeedMore:
        break;
    }
    outcome_.left.assign(input.get() + frame.consumed, input.get() + size);
    return frame.kind != wire::FrameKind::kNeedMore && frame.kind != wire::FrameKind::kRefused;
  }

  wire::FramerSlot slot_;
  wire::Framer& framer_;
  std::unique_ptr<wire::HeaderTable> headers_ = std::make_unique<wire::HeaderTable>();
  Outcome outcome_;
};

// What the framer makes of `input`, cut into pieces of `piece_bytes`, or of random sizes up to it.
struct Cut {
  size_t piece_bytes = SIZE_MAX;
  bool is_random = false;
};

inline Outcome feed(wire::Framing framing, const wire::FrameLimits& limits, std::string_view input,
                    Cut cut, bool has_end) {
  FramerFeed feed(framing, limits);
  Dice dice(input);
  while (!input.empty()) {
    const size_t most = std::min(cut.piece_bytes, input.size());
    const size_t piece = cut.is_random ? 1 + dice.roll(most) : most;
    feed.receive(input.substr(0, piece), false);
    input.remove_prefix(piece);
  }
  if (has_end) feed.receive({}, true);
  return feed.outcome();
}

// The same outcome however the bytes are cut; returns it.
inline Outcome feed_every_way(wire::Framing framing, const wire::FrameLimits& limits,
                              std::string_view input) {
  const Outcome whole = feed(framing, limits, input, Cut(), true);
  const size_t small = input.size() < 4096 ? 1 : input.size() / 64;
  for (const Cut cut : {Cut{small, false}, Cut{16, true}, Cut{input.size(), true}}) {
    if (cut.piece_bytes < small) continue;
    HRMR_CHECK(whole.is_same(feed(framing, limits, input, cut, true)));
  }
  // The end of the stream may come with the last byte.
  FramerFeed at_once(framing, limits);
  at_once.receive(input, true);
  HRMR_CHECK(whole.is_same(at_once.outcome()));
  return whole;
}

}  // namespace hrmr::fuzz
