#include "wire/resp_framer.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace hrmr::wire {
namespace {

// What Redis' string2ll takes: no sign but '-', no zero in front, nothing behind.
bool read_number(std::string_view text, int64_t& number) {
  const std::string_view digits = text.substr(text.substr(0, 1) == "-" ? 1 : 0);
  if (digits.empty() || (digits.front() == '0' && text.size() != 1)) return false;
  const char* const end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, number);
  return result.ec == std::errc() && result.ptr == end;
}

// The part is complete: on to the next one.
Frame part_done() {
  Frame frame;
  frame.kind = FrameKind::kRequest;
  return frame;
}

}  // namespace

Frame RespFramer::next(char* input, size_t size, bool /*at_end*/, Request& request,
                       HeaderTable& headers) {
  const std::string_view bytes(input, size);
  Frame frame;
  do {
    if (part_ == Part::kCount) {
      frame = take_count(bytes);
    } else if (part_ == Part::kLength) {
      frame = take_length(bytes);
    } else {
      frame = take_bulk(bytes);
    }
  } while (frame.kind == FrameKind::kRequest && left_ != 0);
  if (frame.kind != FrameKind::kRequest) return frame;
  request = Request();
  request.framing = Framing::kResp;
  request.bytes = bytes.substr(0, at_);
  request.name = bytes.substr(name_at_, name_bytes_);
  headers.count = 0;
  frame.consumed = at_;
  part_ = Part::kCount;
  at_ = looked_ = name_at_ = 0;
  return frame;
}

// The line of a count or a length, from `at_` on; `at_` is then behind it.
RespFramer::Found RespFramer::find_line(std::string_view input, std::string_view& line) {
  looked_ = std::max(looked_, at_);
  const size_t end = input.find('\r', looked_);
  if (end == std::string_view::npos) {
    looked_ = input.size();
    const bool is_too_long = input.size() - at_ > limits::kRespNumberBytesMax;
    return is_too_long ? Found::kTooLong : Found::kNeedMore;
  }
  if (end + 1 == input.size()) {
    looked_ = end;
    return Found::kNeedMore;
  }
  line = input.substr(at_, end - at_);
  // What is behind the '\r' belongs to the line as long as it is no line end: no number then.
  if (input[end + 1] != '\n') line = input.substr(at_, end + 2 - at_);
  at_ = end + 2;
  return Found::kLine;
}

Frame RespFramer::take_count(std::string_view input) {
  std::string_view line;
  const Found found = find_line(input, line);
  if (found == Found::kTooLong) return refuse("too big mbulk count string");
  if (found == Found::kNeedMore) return {};
  int64_t count = 0;
  if (!read_number(line.substr(1), count)) return refuse("invalid multibulk length");
  if (count > static_cast<int64_t>(elements_max_)) return refuse("invalid multibulk length");
  Frame frame = part_done();
  if (count <= 0) {
    frame.kind = FrameKind::kEmpty;
    frame.consumed = at_;
    at_ = looked_ = 0;
    return frame;
  }
  left_ = static_cast<size_t>(count);
  part_ = Part::kLength;
  return frame;
}

Frame RespFramer::take_length(std::string_view input) {
  std::string_view line;
  const Found found = find_line(input, line);
  if (found == Found::kTooLong) return refuse("too big bulk count string");
  if (found == Found::kNeedMore) return {};
  if (line.substr(0, 1) != "$") {
    char reason[] = "expected '$', got ' '";
    if (!line.empty()) reason[sizeof reason - 3] = line.front();
    return refuse({reason, sizeof reason - 1});
  }
  int64_t length = 0;
  const bool is_number = read_number(line.substr(1), length) && length >= 0;
  if (!is_number || length > static_cast<int64_t>(bulk_bytes_max_)) {
    return refuse("invalid bulk length");
  }
  bulk_bytes_ = static_cast<size_t>(length);
  if (bulk_bytes_ > command_bytes_max_ - std::min(at_, command_bytes_max_)) {
    return refuse("invalid bulk length");
  }
  part_ = Part::kBulk;
  return part_done();
}

Frame RespFramer::take_bulk(std::string_view input) {
  if (input.size() - at_ < bulk_bytes_ + 2) return {};
  if (input.substr(at_ + bulk_bytes_, 2) != "\r\n") return refuse("invalid bulk length");
  if (name_at_ == 0) {
    name_at_ = at_;
    name_bytes_ = bulk_bytes_;
  }
  at_ += bulk_bytes_ + 2;
  --left_;
  part_ = Part::kLength;
  return part_done();
}

Frame RespFramer::refuse(std::string_view reason) {
  constexpr std::string_view kBegin = "-ERR Protocol error: ";
  static_assert(kBegin.size() + 32 < sizeof reply_);
  char* at = reply_;
  for (const std::string_view part : {kBegin, reason, std::string_view("\r\n")}) {
    at = std::copy(part.begin(), part.end(), at);
  }
  // As Redis: what was sent cannot end the answer.
  std::replace_if(
      reply_ + kBegin.size(), at - 2, [](char c) { return c == '\r' || c == '\n'; }, ' ');
  Frame frame;
  frame.kind = FrameKind::kRefused;
  frame.reply = {reply_, static_cast<size_t>(at - reply_)};
  frame.reason = frame.reply.substr(kBegin.size(), reason.size());
  return frame;
}

}  // namespace hrmr::wire
