#include "wire/http1_body.h"

#include <algorithm>
#include <cstring>

#include "base/limits.h"
#include "wire/char_class.h"
#include "wire/http1_head.h"

namespace hrmr::wire {
namespace {

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// [line, end) may stop anywhere. `chunk_bytes` stays at SIZE_MAX for a size that does not fit.
Verdict parse_size_line(const char* line, const char* end, size_t& chunk_bytes, const char*& next) {
  constexpr size_t kMax = SIZE_MAX;
  const char* at = line;
  chunk_bytes = 0;
  for (; at != end && hex_digit(*at) >= 0; ++at) {
    chunk_bytes =
        chunk_bytes > kMax / 16 ? kMax : chunk_bytes * 16 + static_cast<size_t>(hex_digit(*at));
  }
  if (at == end) return Verdict::kIncomplete;
  if (at == line) return Verdict::kBadChunkSize;
  // Whitespace is allowed in front of an extension only (RFC 9112 section 7.1.1).
  while (at != end && is_blank(*at)) ++at;
  if (at == end) return Verdict::kIncomplete;
  const bool is_padded = is_blank(at[-1]);
  if (*at == ';') {
    at = find_control(at, end);
    if (at == end) return Verdict::kIncomplete;
    if (*at != '\r' && *at != '\n') return Verdict::kBadChunkExtension;
  } else if (is_padded || (*at != '\r' && *at != '\n')) {
    return Verdict::kBadChunkSize;
  }
  if (*at == '\n') return Verdict::kChunkLineEnd;
  if (at + 1 == end) return Verdict::kIncomplete;
  if (at[1] != '\n') return Verdict::kChunkLineEnd;
  next = at + 2;
  return Verdict::kGood;
}

}  // namespace

// A line that came in pieces is not read again before its end is there.
bool ChunkedDecoder::must_wait(const char* input, size_t end) const {
  return looked_ > read_ && std::memchr(input + looked_, '\n', end - looked_) == nullptr;
}

Verdict ChunkedDecoder::read_size(const char* input, size_t size, bool at_end) {
  const size_t end = read_ + std::min(size - read_, limits::kHttpChunkLineBytesMax);
  const bool is_cut = end - read_ == limits::kHttpChunkLineBytesMax;
  const bool is_final = at_end || is_cut;
  if (!is_final && must_wait(input, end)) {
    looked_ = end;
    return Verdict::kIncomplete;
  }
  const char* next = nullptr;
  size_t chunk_bytes = 0;
  const Verdict verdict = parse_size_line(input + read_, input + end, chunk_bytes, next);
  if (verdict != Verdict::kGood) {
    looked_ = end;
    if (verdict == Verdict::kIncomplete) return is_cut ? Verdict::kChunkLineTooLong : verdict;
    const bool is_whole = is_final || std::memchr(input + read_, '\n', end - read_) != nullptr;
    return is_whole ? verdict : Verdict::kIncomplete;
  }
  if (chunk_bytes > body_bytes_max_ - (write_ - body_start_)) return Verdict::kBodyTooLarge;
  const auto line_end = static_cast<size_t>(next - input);
  if (line_end - write_ > body_bytes_max_ + limits::kHttpChunkingBytesMax) {
    return Verdict::kTooMuchChunking;
  }
  read_ = line_end;
  remaining_ = chunk_bytes == 0 ? limits::kHttpTrailerBytesMax : chunk_bytes;
  phase_ = chunk_bytes == 0 ? Phase::kTrailer : Phase::kBytes;
  return Verdict::kGood;
}

Verdict ChunkedDecoder::move_bytes(char* input, size_t size) {
  const size_t count = std::min(remaining_, size - read_);
  std::memmove(input + write_, input + read_, count);
  read_ += count;
  write_ += count;
  remaining_ -= count;
  if (remaining_ != 0) return Verdict::kIncomplete;
  phase_ = Phase::kBytesEnd;
  return Verdict::kGood;
}

Verdict ChunkedDecoder::read_bytes_end(const char* input, size_t size) {
  if (size - read_ >= 1 && input[read_] != '\r') return Verdict::kChunkDataEnd;
  if (size - read_ < 2) return Verdict::kIncomplete;
  if (input[read_ + 1] != '\n') return Verdict::kChunkDataEnd;
  read_ += 2;
  phase_ = Phase::kSize;
  return Verdict::kGood;
}

Verdict ChunkedDecoder::read_trailer(const char* input, size_t size, bool at_end) {
  const size_t end = read_ + std::min(size - read_, remaining_);
  const bool is_cut = end - read_ == remaining_;
  const bool is_final = at_end || is_cut;
  if (!is_final && must_wait(input, end)) {
    looked_ = end;
    return Verdict::kIncomplete;
  }
  const char* next = nullptr;
  Header dropped;
  const Verdict verdict = parse_header_line(input + read_, input + end, dropped, next);
  if (verdict != Verdict::kGood) {
    looked_ = end;
    if (verdict == Verdict::kIncomplete) return is_cut ? Verdict::kTrailerTooLarge : verdict;
    const bool is_whole = is_final || std::memchr(input + read_, '\n', end - read_) != nullptr;
    return is_whole ? verdict : Verdict::kIncomplete;
  }
  const auto line_end = static_cast<size_t>(next - input);
  remaining_ -= line_end - read_;
  read_ = line_end;
  if (dropped.name.size == 0) phase_ = Phase::kDone;
  return Verdict::kGood;
}

Verdict ChunkedDecoder::step(char* input, size_t size, bool at_end) {
  switch (phase_) {
    case Phase::kSize:
      return read_size(input, size, at_end);
    case Phase::kBytes:
      return move_bytes(input, size);
    case Phase::kBytesEnd:
      return read_bytes_end(input, size);
    case Phase::kTrailer:
      return read_trailer(input, size, at_end);
    case Phase::kDone:
      break;
  }
  return Verdict::kGood;
}

Verdict ChunkedDecoder::advance(char* input, size_t size, bool at_end) {
  while (phase_ != Phase::kDone) {
    const Verdict verdict = step(input, size, at_end);
    if (verdict != Verdict::kGood) return verdict;
  }
  return Verdict::kGood;
}

}  // namespace hrmr::wire
