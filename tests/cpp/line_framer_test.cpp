#include "wire/line_framer.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using namespace hrmr;
using namespace hrmr::wire;

namespace {

struct Fixture {
  Frame next(std::string& input, bool at_end = false) {
    return framer.next(input.data(), input.size(), at_end, request, *headers);
  }

  LineFramer framer{FrameLimits()};
  Request request;
  std::unique_ptr<HeaderTable> headers = std::make_unique<HeaderTable>();
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a line request has no trace of the HTTP request before it") {
  request.framing = Framing::kHttp;
  request.method = "GET";
  request.body = "body";
  request.head_only = true;
  request.keep_alive = false;
  headers->count = 7;
  std::string input = "PING\n";
  CHECK(next(input).kind == FrameKind::kRequest);
  CHECK(request.framing == Framing::kLine);
  CHECK(request.method.empty());
  CHECK(request.body.empty());
  CHECK_FALSE(request.head_only);
  CHECK(request.keep_alive);
  CHECK(headers->count == 0);
}

TEST_CASE_FIXTURE(Fixture, "empty lines are given back while nothing else is there") {
  std::string input = "\r\n\n\r\n\r";
  const Frame frame = next(input);
  CHECK(frame.kind == FrameKind::kNeedMore);
  CHECK(frame.consumed == 5);
}

TEST_CASE_FIXTURE(Fixture, "empty lines that the caller keeps are skipped again") {
  std::string input = "\n\n";
  CHECK(next(input).kind == FrameKind::kNeedMore);
  input += "A\n";
  CHECK(next(input).consumed == 4);
  CHECK(request.bytes == "A");
}

TEST_CASE_FIXTURE(Fixture, "empty lines in front of a partial line are consumed with it") {
  std::string input = "\n\nA";
  CHECK(next(input).consumed == 0);
  input += "B\n";
  CHECK(next(input).consumed == 5);
  CHECK(request.bytes == "AB");
}

TEST_CASE_FIXTURE(Fixture, "the answer to a long line says what is wrong") {
  std::string input(limits::kLineBytesMax, 'a');
  const Frame frame = next(input);
  CHECK(frame.kind == FrameKind::kRefused);
  CHECK(frame.reply.find("Protocol error") != std::string_view::npos);
  CHECK(frame.reply.back() == '\n');
}
