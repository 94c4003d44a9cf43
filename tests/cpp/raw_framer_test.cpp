#include "wire/raw_framer.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using namespace hrmr;
using namespace hrmr::wire;

TEST_CASE("a raw request is all that is there and shows nothing of HTTP") {
  RawFramer framer;
  auto headers = std::make_unique<HeaderTable>();
  headers->count = 3;
  Request request;
  request.method = "GET";
  std::string input("a\0\n", 3);
  const Frame frame = framer.next(input.data(), input.size(), false, request, *headers);
  CHECK(frame.kind == FrameKind::kRequest);
  CHECK(frame.consumed == 3);
  CHECK(request.bytes == input);
  CHECK(request.framing == Framing::kRaw);
  CHECK(request.method.empty());
  CHECK(headers->count == 0);
}

TEST_CASE("a raw request has one byte at least") {
  RawFramer framer;
  auto headers = std::make_unique<HeaderTable>();
  Request request;
  CHECK(framer.next(nullptr, 0, false, request, *headers).kind == FrameKind::kNeedMore);
  CHECK(framer.next(nullptr, 0, true, request, *headers).kind == FrameKind::kNeedMore);
}
