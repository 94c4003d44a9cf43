#include "wire/framer.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using namespace hrmr;
using namespace hrmr::wire;

TEST_CASE("a slot holds the framer that was chosen last") {
  FramerSlot slot;
  CHECK(slot.get() == nullptr);
  for (const Framing framing : {Framing::kLine, Framing::kHttp, Framing::kRaw, Framing::kHttp}) {
    Framer& framer = slot.choose(framing, FrameLimits());
    CHECK(&framer == slot.get());
    CHECK(framer.framing() == framing);
  }
  slot.reset();
  CHECK(slot.get() == nullptr);
}

TEST_CASE("a framer that is chosen again has forgotten the bytes before") {
  FramerSlot slot;
  auto headers = std::make_unique<HeaderTable>();
  Request request;
  std::string partial = "GET /partial HT";
  slot.choose(Framing::kHttp, FrameLimits())
      .next(partial.data(), partial.size(), false, request, *headers);
  std::string whole = "GET / HTTP/1.0\r\n\r\n";
  const Frame frame = slot.choose(Framing::kHttp, FrameLimits())
                          .next(whole.data(), whole.size(), false, request, *headers);
  CHECK(frame.kind == FrameKind::kRequest);
  CHECK(request.target == "/");
}
