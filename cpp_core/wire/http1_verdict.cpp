#include "wire/http1_verdict.h"

#include <array>
#include <string_view>

#include "base/check.h"

namespace hrmr::wire {
namespace {

struct Cause {
  Verdict verdict;
  std::string_view status;
  std::string_view reason;
};

constexpr std::string_view kBadRequest = "400 Bad Request";
constexpr std::string_view kNotImplemented = "501 Not Implemented";

constexpr Cause kCauses[] = {
    {Verdict::kBadMethod, kBadRequest, "the request line does not begin with a method and a space"},
    {Verdict::kMethodTooLong, kNotImplemented, "the method is longer than any known one"},
    {Verdict::kBadTarget, kBadRequest,
     "the request target has a byte that must be percent-encoded, or is empty"},
    {Verdict::kTargetTooLong, "414 URI Too Long", "the request target is too long"},
    {Verdict::kFragment, kBadRequest, "the request target has a fragment ('#')"},
    {Verdict::kTargetForm, kBadRequest,
     "the request target is neither a path, an http URL nor '*' of OPTIONS"},
    {Verdict::kConnect, kNotImplemented, "CONNECT is not supported: this is no proxy"},
    {Verdict::kNoVersion, kBadRequest, "the request line has no HTTP version"},
    {Verdict::kBadVersion, kBadRequest, "the HTTP version is malformed"},
    {Verdict::kVersionUnsupported, "505 HTTP Version Not Supported",
     "only HTTP/1.0 and HTTP/1.1 are spoken here"},
    {Verdict::kBareLf, kBadRequest, "a line of the head ends in LF without CR"},
    {Verdict::kBareCr, kBadRequest, "a CR in the head is not followed by LF"},
    {Verdict::kFolded, kBadRequest, "a header line begins with whitespace"},
    {Verdict::kBlankBeforeColon, kBadRequest, "whitespace between a header's name and its colon"},
    {Verdict::kBadName, kBadRequest, "a header's name is empty or has a byte that is no token"},
    {Verdict::kNoColon, kBadRequest, "a header line has no colon"},
    {Verdict::kControlInValue, kBadRequest, "a header's value has a control character"},
    {Verdict::kTooManyHeaders, "431 Request Header Fields Too Large", "too many header lines"},
    {Verdict::kHeadTooLarge, "431 Request Header Fields Too Large", "the head is too large"},
    {Verdict::kHostMissing, kBadRequest, "HTTP/1.1 needs a Host header"},
    {Verdict::kHostRepeated, kBadRequest, "more than one Host header"},
    {Verdict::kBadHost, kBadRequest, "the Host header is no host with an optional port"},
    {Verdict::kBadLength, kBadRequest, "Content-Length is not a decimal number"},
    {Verdict::kLengthRepeated, kBadRequest, "more than one Content-Length header"},
    {Verdict::kCodingRepeated, kBadRequest, "more than one Transfer-Encoding header"},
    {Verdict::kLengthAndCoding, kBadRequest, "both Content-Length and Transfer-Encoding"},
    {Verdict::kCodingInHttp10, kBadRequest, "Transfer-Encoding in HTTP/1.0"},
    {Verdict::kUnknownCoding, kNotImplemented, "only Transfer-Encoding: chunked is understood"},
    {Verdict::kUnknownExpectation, "417 Expectation Failed",
     "only Expect: 100-continue is understood"},
    {Verdict::kBodyTooLarge, "413 Content Too Large", "the body is too large"},
    {Verdict::kBadChunkSize, kBadRequest, "a chunk size is not a hexadecimal number"},
    {Verdict::kBadChunkExtension, kBadRequest, "a chunk extension has a control character"},
    {Verdict::kChunkLineTooLong, kBadRequest, "a chunk-size line is too long"},
    {Verdict::kChunkLineEnd, kBadRequest, "a chunk-size line does not end in CR LF"},
    {Verdict::kChunkDataEnd, kBadRequest, "a chunk's bytes are not followed by CR LF"},
    {Verdict::kTooMuchChunking, kBadRequest, "the body is cut into too many small chunks"},
    {Verdict::kTrailerTooLarge, "431 Request Header Fields Too Large", "the trailer is too large"},
    {Verdict::kHeadTimeout, "408 Request Timeout", "timeout: the head did not come in time"},
    {Verdict::kBodyTimeout, "408 Request Timeout", "timeout: the body did not come in time"},
};
constexpr size_t kFirst = static_cast<size_t>(Verdict::kIncomplete) + 1;
constexpr size_t kCauseCount = static_cast<size_t>(Verdict::kCount) - kFirst;

constexpr bool is_in_order() {
  for (size_t i = 0; i < kCauseCount; ++i) {
    if (static_cast<size_t>(kCauses[i].verdict) != i + kFirst) return false;
  }
  return true;
}
static_assert(std::size(kCauses) == kCauseCount && is_in_order());

// Written out at compile time, so that refusing costs nothing and cannot fail.
struct Response {
  char text[320] = {};
  size_t size = 0;

  constexpr void put(std::string_view part) {
    for (const char c : part) text[size++] = c;
  }
  constexpr void put_two_digits(size_t number) {
    text[size++] = static_cast<char>('0' + number / 10);
    text[size++] = static_cast<char>('0' + number % 10);
  }
};

constexpr std::array<Response, kCauseCount> write_responses() {
  std::array<Response, kCauseCount> responses{};
  for (size_t i = 0; i < kCauseCount; ++i) {
    Response& response = responses[i];
    response.put("HTTP/1.1 ");
    response.put(kCauses[i].status);
    response.put("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n");
    response.put("Content-Length: ");
    response.put_two_digits(kCauses[i].reason.size() + 1);
    response.put("\r\n\r\n");
    response.put(kCauses[i].reason);
    response.put("\n");
  }
  return responses;
}
constexpr std::array<Response, kCauseCount> kResponses = write_responses();

constexpr bool lengths_have_two_digits() {
  for (const Cause& cause : kCauses) {
    if (cause.reason.size() + 1 < 10 || cause.reason.size() + 1 > 99) return false;
  }
  return true;
}
static_assert(lengths_have_two_digits());

}  // namespace

Frame refused(Verdict verdict) {
  HRMR_CHECK(is_refusal(verdict) && verdict < Verdict::kCount);
  const size_t index = static_cast<size_t>(verdict) - kFirst;
  Frame frame;
  frame.kind = FrameKind::kRefused;
  frame.reply = {kResponses[index].text, kResponses[index].size};
  frame.reason = kCauses[index].reason;
  return frame;
}

void append_dated(ByteBuffer& out, std::string_view reply, std::string_view date) {
  constexpr std::string_view kVersion = "HTTP/1.1 ";
  const bool is_final =
      reply.substr(0, kVersion.size()) == kVersion && reply[kVersion.size()] != '1';
  if (is_final) {
    const size_t line_end = reply.find('\n') + 1;
    out.append(reply.substr(0, line_end));
    out.append("Date: ");
    out.append(date);
    out.append("\r\n");
    reply.remove_prefix(line_end);
  }
  out.append(reply);
}

}  // namespace hrmr::wire
