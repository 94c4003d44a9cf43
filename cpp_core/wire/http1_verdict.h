// Verdict: what the HTTP/1 parsers say about the bytes that they have seen; each way to be wrong
// has a name, a status and a sentence.
//
// A verdict depends on the bytes alone, never on how they were cut into reads: a line is judged
// when it is whole, when it can no longer become valid in its bound, or when the peer has sent its
// last byte.
//
// Threads: values and constants.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/byte_buffer.h"
#include "wire/framer.h"

namespace hrmr::wire {

enum class Verdict : uint8_t {
  kGood,
  kIncomplete,
  // The request line.
  kBadMethod,
  kMethodTooLong,
  kBadTarget,
  kTargetTooLong,
  kFragment,
  kTargetForm,
  kConnect,
  kNoVersion,
  kBadVersion,
  kVersionUnsupported,
  // Header lines.
  kBareLf,
  kBareCr,
  kFolded,
  kBlankBeforeColon,
  kBadName,
  kNoColon,
  kControlInValue,
  kTooManyHeaders,
  kHeadTooLarge,
  // What the head says about itself.
  kHostMissing,
  kHostRepeated,
  kBadHost,
  kBadLength,
  kLengthRepeated,
  kCodingRepeated,
  kLengthAndCoding,
  kCodingInHttp10,
  kUnknownCoding,
  kUnknownExpectation,
  kBodyTooLarge,
  // Chunked bodies.
  kBadChunkSize,
  kBadChunkExtension,
  kChunkLineTooLong,
  kChunkLineEnd,
  kChunkDataEnd,
  kTooMuchChunking,
  kTrailerTooLarge,
  // It did not come in time; said by who has a clock, not by the parsers.
  kHeadTimeout,
  kBodyTimeout,
  kCount
};

inline bool is_refusal(Verdict verdict) { return verdict > Verdict::kIncomplete; }

// The frame that refuses a request for that reason: a whole response in static storage.
Frame refused(Verdict verdict);

// Appends such a reply; a final one of HTTP gets a Date (RFC 9110 section 6.6.1) of `date`, an
// IMF-fixdate. Others, 100 Continue and what is said to lines, are appended as they are.
void append_dated(ByteBuffer& out, std::string_view reply, std::string_view date);

}  // namespace hrmr::wire
