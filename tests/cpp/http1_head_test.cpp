#include "wire/http1_head.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using namespace hrmr;
using namespace hrmr::wire;

namespace {

constexpr size_t kMax = 4096;

}  // namespace

TEST_CASE("headers of a head that came in pieces are restored where it lies now") {
  const std::string sent = "GET /x HTTP/1.1\r\nHost: a\r\nB:  c d \r\nE:\r\n\r\nbody";
  auto headers = std::make_unique<HeaderTable>();
  HeadParser parser(kMax);
  for (size_t size = 1; size < sent.size() - 4; ++size) {
    const std::string part = sent.substr(0, size);
    REQUIRE(parser.advance(part, false, *headers) == Verdict::kIncomplete);
  }
  const std::string moved = sent;
  REQUIRE(parser.advance(moved, false, *headers) == Verdict::kGood);
  CHECK(parser.head_bytes() == sent.size() - 4);
  parser.restore_headers(moved, *headers);
  REQUIRE(headers->count == 3);
  CHECK(std::string_view(headers->items[1].name) == "B");
  CHECK(std::string_view(headers->items[1].value) == "c d");
  CHECK(std::string_view(headers->items[2].name) == "E");
  CHECK(std::string_view(headers->items[2].value).empty());
  CHECK(headers->items[1].name.data >= moved.data());
  CHECK(headers->items[1].name.data < moved.data() + moved.size());
}

TEST_CASE("a head that came at once fills the table in the same pass") {
  const std::string sent = "GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n";
  auto headers = std::make_unique<HeaderTable>();
  HeadParser parser(kMax);
  REQUIRE(parser.advance(sent, false, *headers) == Verdict::kGood);
  REQUIRE(headers->count == 2);
  CHECK(std::string_view(headers->items[1].value) == "c");
}

TEST_CASE("a head tells the framing of its body") {
  auto headers = std::make_unique<HeaderTable>();
  HeadParser parser(kMax);
  const std::string length = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n";
  REQUIRE(parser.advance(length, false, *headers) == Verdict::kGood);
  CHECK(parser.facts().has_length);
  CHECK(parser.facts().content_length == 12);
  CHECK_FALSE(parser.facts().is_chunked);
  parser.reset();
  const std::string chunked = "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  REQUIRE(parser.advance(chunked, false, *headers) == Verdict::kGood);
  CHECK(parser.facts().is_chunked);
  CHECK(parser.facts().content_length == 0);
}

TEST_CASE("every refusal has a whole response of its own") {
  for (int i = static_cast<int>(Verdict::kIncomplete) + 1; i < static_cast<int>(Verdict::kCount);
       ++i) {
    const Frame frame = refused(static_cast<Verdict>(i));
    CAPTURE(frame.reason);
    CHECK(frame.kind == FrameKind::kRefused);
    CHECK(frame.reply.substr(0, 9) == "HTTP/1.1 ");
    const size_t body_at = frame.reply.find("\r\n\r\n") + 4;
    CHECK(frame.reply.substr(body_at) == std::string(frame.reason) + "\n");
  }
}
