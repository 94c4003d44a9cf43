#include "wire/http1_framer.h"

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

  HttpFramer framer{FrameLimits()};
  Request request;
  std::unique_ptr<HeaderTable> headers = std::make_unique<HeaderTable>();
};

constexpr const char* kExpecting =
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";

}  // namespace

TEST_CASE_FIXTURE(Fixture, "100 Continue is said once, when the head is whole") {
  std::string input = kExpecting;
  input.pop_back();
  CHECK(next(input).kind == FrameKind::kNeedMore);
  input += '\n';
  const Frame frame = next(input);
  CHECK(frame.kind == FrameKind::kInterim);
  CHECK(frame.reply == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(frame.consumed == 0);
  CHECK(next(input).kind == FrameKind::kNeedMore);
  input += "h";
  CHECK(next(input).kind == FrameKind::kNeedMore);
  input += "i";
  CHECK(next(input).kind == FrameKind::kRequest);
  CHECK(request.body == "hi");
}

TEST_CASE_FIXTURE(Fixture, "100 Continue is not said when the body is there") {
  std::string input = kExpecting + std::string("hi");
  CHECK(next(input).kind == FrameKind::kRequest);
}

TEST_CASE_FIXTURE(Fixture, "100 Continue is said again for the next request") {
  for (int round = 0; round < 2; ++round) {
    std::string input = kExpecting;
    CHECK(next(input).kind == FrameKind::kInterim);
    input += "hi";
    CHECK(next(input).kind == FrameKind::kRequest);
  }
}

TEST_CASE_FIXTURE(Fixture, "100 Continue is not said to HTTP/1.0") {
  std::string input = "POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
  CHECK(next(input).kind == FrameKind::kNeedMore);
}

TEST_CASE_FIXTURE(Fixture, "100 Continue is said for a chunked body that has begun") {
  std::string input =
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n2";
  CHECK(next(input).kind == FrameKind::kInterim);
  CHECK(next(input).kind == FrameKind::kNeedMore);
}

TEST_CASE_FIXTURE(Fixture, "facts of one request do not reach the next") {
  std::string first =
      "HEAD /a HTTP/1.0\r\nConnection: close\r\nContent-Length: 1\r\nHost: a\r\n\r\nx";
  CHECK(next(first).kind == FrameKind::kRequest);
  CHECK(request.head_only);
  CHECK_FALSE(request.keep_alive);
  CHECK(headers->count == 3);
  std::string second = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n";
  const Frame frame = next(second);
  CHECK(frame.kind == FrameKind::kRequest);
  CHECK(frame.consumed == second.size());
  CHECK_FALSE(request.head_only);
  CHECK(request.keep_alive);
  CHECK(request.http_minor == 1);
  CHECK(request.body.empty());
  CHECK(headers->count == 1);
}

TEST_CASE_FIXTURE(Fixture, "empty lines are given back while nothing else is there") {
  std::string input = "\r\n\r\n\r";
  const Frame frame = next(input);
  CHECK(frame.kind == FrameKind::kNeedMore);
  CHECK(frame.consumed == 4);
}

TEST_CASE_FIXTURE(Fixture, "a bare LF is no empty line in front of a request") {
  std::string input = "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
  CHECK(next(input).kind == FrameKind::kRefused);
}

TEST_CASE_FIXTURE(Fixture, "a chunked request is told to consume what was sent") {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string sent = head + "1;x\r\na\r\n1\r\nb\r\n0\r\nT: u\r\n\r\n";
  std::string input = sent + "GET /";
  CHECK(next(input).consumed == sent.size());
  CHECK(request.bytes == head + "ab");
  CHECK(request.body.data() == request.bytes.data() + head.size());
}

TEST_CASE_FIXTURE(Fixture, "a refusal is repeated when it is asked for again") {
  std::string input = "GET / HTTP/1.1\r\nHost : a\r\n\r\n";
  const Frame first = next(input);
  CHECK(first.kind == FrameKind::kRefused);
  const Frame second = next(input);
  CHECK(second.kind == FrameKind::kRefused);
  CHECK(second.reason == first.reason);
}
