#include "wire/reply_writer.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/text.h"
#include "wire/char_class.h"
#include "wire/json_text.h"

namespace hrmr::wire {
namespace {

constexpr size_t kDigitsMax = 20;  // of a size_t

uint8_t digits_of(uint64_t number) {
  uint8_t digits = 1;
  for (; number >= 10; number /= 10) ++digits;
  return digits;
}

// RFC 9110 section 5.6.2 names, and values without control bytes: no header can end its line.
bool is_clean_header(std::string_view name, std::string_view value) {
  const char* end = value.data() + value.size();
  return is_token(name) && find_control(value.data(), end) == end;
}

bool belongs_to_host(std::string_view name) {
  for (const std::string_view owned :
       {"content-length", "transfer-encoding", "connection", "date"}) {
    if (equals_ignoring_case(name, owned)) return true;
  }
  return false;
}

void append_title_case(ByteBuffer& out, std::string_view name) {
  char* at = out.reserve(name.size());
  bool is_first = true;
  for (const char c : name) {
    *at++ = is_first && c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    is_first = c == '-';
  }
  out.commit(name.size());
}

struct StatusLine {
  explicit StatusLine(int status) {
    put("HTTP/1.1 ");
    size = static_cast<size_t>(std::to_chars(text + size, text + sizeof text, status).ptr - text);
    put(" ");
    put(reason_phrase(status));
    put("\r\n");
  }
  void put(std::string_view part) {
    std::memcpy(text + size, part.data(), part.size());
    size += part.size();
  }

  char text[64];  // the longest phrase has 31
  size_t size = 0;
};

// Replaces `old_bytes` bytes at `at` by room for `new_bytes`.
void resize_gap(ByteBuffer& out, size_t at, size_t old_bytes, size_t new_bytes) {
  const size_t tail = out.size() - at - old_bytes;
  if (new_bytes > old_bytes) {
    out.reserve(new_bytes - old_bytes);
    out.commit(new_bytes - old_bytes);
  }
  std::memmove(out.data() + at + new_bytes, out.data() + at + old_bytes, tail);
  if (new_bytes < old_bytes) out.truncate(at + new_bytes + tail);
}

}  // namespace

bool ReplyWriter::sends_body() const {
  return !facts_.head_only && status_ != 204 && status_ != 205 && status_ != 304;
}

// RFC 9110 section 8.6: never in a 204; in a 304 it would be the length of what is not sent.
bool ReplyWriter::sends_length() const { return status_ != 204 && status_ != 304; }

bool ReplyWriter::fits(size_t bytes) const {
  const size_t used = has_body_ ? body_bytes() : 0;
  return used <= facts_.bytes_max && bytes <= facts_.bytes_max - used;
}

bool ReplyWriter::takes(size_t bytes) {
  if (fits(bytes) && has_declared_room(bytes)) return true;
  note_refused();
  return false;
}

void ReplyWriter::begin_head() {
  if (headers_at_ != 0) return;
  if (status_ == 200) {
    out_.append("HTTP/1.1 200 OK\r\n");
  } else {
    const StatusLine line(status_);
    out_.append({line.text, line.size});
  }
  headers_at_ = out_.size();
}

// `expected_bytes`: the guess for the body's length.
void ReplyWriter::begin_body(uint64_t expected_bytes) {
  if (has_body_) return;
  has_body_ = true;
  if (!is_http()) {
    body_start_ = out_.size();
    return;
  }
  begin_head();
  if (!has_content_type_ && sends_length()) {
    out_.append(facts_.form == ValueForm::kJson ? "Content-Type: application/json\r\n"
                                                : "Content-Type: text/plain; charset=utf-8\r\n");
  }
  if (!facts_.date.empty()) {
    out_.append("Date: ");
    out_.append(facts_.date);
    out_.append("\r\n");
  }
  if (closes_) {
    out_.append("Connection: close\r\n");
  } else if (facts_.http_minor == 0) {
    out_.append("Connection: keep-alive\r\n");
  }
  if (is_streamed_ && declared_bytes_ < 0) {
    out_.append(is_chunked_ ? "Transfer-Encoding: chunked\r\n\r\n" : "\r\n");
  } else if (sends_length()) {
    out_.append("Content-Length: ");
    length_at_ = out_.size();
    length_digits_ = digits_of(expected_bytes);
    char* digits = out_.reserve(length_digits_);
    std::to_chars(digits, digits + length_digits_, expected_bytes);
    out_.commit(length_digits_);
    out_.append("\r\n\r\n");
  } else {
    out_.append("\r\n");
  }
  body_start_ = out_.size();
}

void ReplyWriter::set_length() {
  // A 205 says 0 whatever was written (RFC 9110 section 15.3.6).
  const uint64_t length = status_ == 205 ? 0 : body_bytes() + file_bytes_;
  const uint8_t digits = digits_of(length);
  if (digits != length_digits_) {
    resize_gap(out_, length_at_, length_digits_, digits);
    out_.move_files(files_start_, ptrdiff_t{digits} - ptrdiff_t{length_digits_});
  }
  length_digits_ = digits;
  std::to_chars(out_.data() + length_at_, out_.data() + length_at_ + digits, length);
}

WriteResult ReplyWriter::write(std::string_view bytes) {
  if (failed_ || finished_) return WriteResult::kTooLate;
  if (bytes.empty()) return WriteResult::kOk;
  if (!takes(bytes.size())) return WriteResult::kTooLarge;
  reserved_bytes_ = 0;
  begin_body(bytes.size());
  if (!is_http() || sends_body()) {
    out_.append(bytes);
  } else {
    dropped_bytes_ += bytes.size();
  }
  return WriteResult::kOk;
}

char* ReplyWriter::reserve(size_t bytes) {
  if (failed_ || finished_ || !takes(bytes)) return nullptr;
  begin_body(bytes);
  reserved_bytes_ = bytes;
  return out_.reserve(bytes);
}

WriteResult ReplyWriter::commit(size_t bytes) {
  if (failed_ || finished_) return WriteResult::kTooLate;
  if (bytes > reserved_bytes_) return WriteResult::kBadArgument;
  reserved_bytes_ = 0;
  if (!is_http() || sends_body()) {
    out_.commit(bytes);
  } else {
    dropped_bytes_ += bytes;
  }
  return WriteResult::kOk;
}

WriteResult ReplyWriter::send_file(FileRange range) {
  if (failed_ || finished_) return WriteResult::kTooLate;
  if (range.left == 0) return WriteResult::kOk;
  uint64_t total = 0;
  if (__builtin_add_overflow(file_bytes_, range.left, &total) || total > INT64_MAX ||
      out_.file_count() - files_start_ >= limits::kReplyFilesMax ||
      !has_declared_room(range.left)) {
    return WriteResult::kTooLarge;
  }
  reserved_bytes_ = 0;
  begin_body(range.left);
  file_bytes_ = total;
  if (!is_http() || sends_body()) out_.add_file(std::move(range));
  return WriteResult::kOk;
}

WriteResult ReplyWriter::set_status(int status) {
  if (failed_ || finished_) return WriteResult::kTooLate;
  if (!is_http()) return WriteResult::kOk;
  if (has_body_) return WriteResult::kTooLate;
  if (status < 200 || status > 599) return WriteResult::kBadArgument;
  status_ = static_cast<uint16_t>(status);
  if (headers_at_ == 0) return WriteResult::kOk;
  // Headers came first: the new status line goes in front of them.
  const size_t old_bytes = headers_at_ - start_;
  const StatusLine line(status);
  resize_gap(out_, start_, old_bytes, line.size);
  std::memcpy(out_.data() + start_, line.text, line.size);
  headers_at_ = start_ + line.size;
  return WriteResult::kOk;
}

WriteResult ReplyWriter::add_header(std::string_view name, std::string_view value) {
  if (failed_ || finished_) return WriteResult::kTooLate;
  if (!is_http()) return WriteResult::kOk;
  if (has_body_) return WriteResult::kTooLate;
  if (!is_clean_header(name, value) || belongs_to_host(name)) return WriteResult::kBadArgument;
  const size_t used = out_.size() - start_;
  if (used > facts_.bytes_max || name.size() + value.size() > facts_.bytes_max - used) {
    return WriteResult::kTooLarge;
  }
  begin_head();
  append_title_case(out_, name);
  out_.append(": ");
  out_.append(value);
  out_.append("\r\n");
  if (equals_ignoring_case(name, "content-type")) has_content_type_ = true;
  return WriteResult::kOk;
}

void ReplyWriter::close_after() { closes_ = true; }

void ReplyWriter::fail(int status, std::string_view message, int retry_after_s) {
  fail_as(status == 503   ? "BUSY"
          : status == 403 ? "NOPERM"
                          : "ERR",
          message, status, retry_after_s);
}

void ReplyWriter::fail_as(std::string_view code, std::string_view message, int status,
                          int retry_after_s) {
  if (retry_after_s <= 0) return fail_with(code, message, status, {});
  char digits[kDigitsMax];
  const auto end = std::to_chars(digits, digits + sizeof digits, retry_after_s).ptr;
  fail_with(code, message, status, {"Retry-After", {digits, static_cast<size_t>(end - digits)}});
}

void ReplyWriter::fail_method(std::string_view message, std::string_view allowed) {
  fail_with("ERR", message, 405, {"Allow", allowed});
}

void ReplyWriter::fail_with(std::string_view code, std::string_view message, int status,
                            const ErrorHeader& header) {
  if (finished_) return;
  if (has_sent_) return abort();
  is_streamed_ = is_chunked_ = false;
  declared_bytes_ = -1;
  out_.truncate(start_);
  out_.drop_files(files_start_);
  file_bytes_ = 0;
  headers_at_ = length_at_ = body_start_ = reserved_bytes_ = dropped_bytes_ = 0;
  has_content_type_ = has_body_ = failed_ = false;
  status_ = static_cast<uint16_t>(status >= 400 && status <= 599 ? status : 500);
  if (message.empty()) message = reason_phrase(status_);
  message = message.substr(0, limits::kErrorTextBytesMax);
  if (!is_http()) {
    write_line_error(code, message);
  } else {
    if (!header.name.empty()) (void)add_header(header.name, header.value);
    if (facts_.form == ValueForm::kJson) {
      write_json_error(code, message);
    } else {
      write(message);
      write("\n");
    }
  }
  failed_ = true;
}

void ReplyWriter::write_json_error(std::string_view code, std::string_view message) {
  const size_t text_bytes = json_string_bytes(message);
  char* const begin = reserve(text_bytes + code.size() + 64);
  constexpr std::string_view kInstead = "the error is larger than reply_max (--reply-max)";
  if (begin == nullptr && message != kInstead) return write_json_error(code, kInstead);
  if (begin == nullptr) return;
  char* at = put_text(begin, R"({"error":{"code":")");
  at = put_text(put_text(at, code), R"(","message":)");
  at = put_text(put_json_string(at, message), "}}\n");
  commit(static_cast<size_t>(at - begin));
}

void ReplyWriter::write_line_error(std::string_view code, std::string_view message) {
  // A line whose client may not know RESP: what it asked for may be a route's again in a moment.
  const bool is_resp =
      facts_.form != ValueForm::kNone && !(facts_.framing == Framing::kLine && status_ == 503);
  begin_body(0);
  if (is_resp) {
    out_.append("-");
    out_.append(code);
    out_.append(" ");
  } else {
    out_.append(status_ == 503 ? "503 " : "ERR ");
  }
  const size_t message_at = out_.size();
  out_.append(message);
  std::replace_if(
      out_.data() + message_at, out_.data() + out_.size(),
      [](char c) { return c == '\r' || c == '\n'; }, ' ');
  out_.append(is_resp ? "\r\n" : "\n");
}

void ReplyWriter::finish_whole() {
  if (has_refused_) fail(500, "the answer is larger than reply_max (--reply-max)");
  finish();
}

void ReplyWriter::finish() {
  if (finished_) return;
  if (is_streamed_) finish_stream();
  finished_ = finished_ || (failed_ && has_sent_);
  if (finished_) return;
  begin_body(0);
  if (is_http() && sends_length()) set_length();
  if (facts_.is_silent) abandon();
  finished_ = true;
}

WriteResult ReplyWriter::begin_stream(int64_t length) {
  if (failed_ || finished_ || has_body_) return WriteResult::kTooLate;
  if (length < -1) return WriteResult::kBadArgument;
  is_streamed_ = true;
  declared_bytes_ = length;
  // A 205 says that it is empty (RFC 9110 section 15.3.6).
  if (is_http() && status_ == 205) declared_bytes_ = 0;
  const bool has_end = declared_bytes_ >= 0 || !sends_length();
  is_chunked_ = is_http() && !has_end && facts_.http_minor != 0;
  if (is_http() && !has_end && !is_chunked_) closes_ = true;
  begin_body(declared_bytes_ < 0 ? 0 : static_cast<uint64_t>(declared_bytes_));
  return WriteResult::kOk;
}

bool ReplyWriter::has_declared_room(uint64_t bytes) const {
  if (!is_streamed_ || declared_bytes_ < 0) return true;
  const uint64_t used = streamed_bytes_ + body_bytes() + file_bytes_;
  return bytes <= static_cast<uint64_t>(declared_bytes_) - used;
}

void ReplyWriter::end_piece() {
  const uint64_t bytes = body_bytes() + file_bytes_;
  streamed_bytes_ += bytes;
  if (facts_.is_silent) {
    out_.truncate(start_);
    out_.drop_files(files_start_);
  }
  if (is_chunked_ && sends_body() && bytes != 0) {
    char line[kDigitsMax];
    char* end = std::to_chars(line, line + sizeof line, bytes, 16).ptr;
    *end++ = '\r';
    *end++ = '\n';
    const auto line_bytes = static_cast<size_t>(end - line);
    resize_gap(out_, body_start_, 0, line_bytes);
    std::memcpy(out_.data() + body_start_, line, line_bytes);
    out_.move_files(files_start_, static_cast<ptrdiff_t>(line_bytes));
    out_.append("\r\n");
  }
  body_start_ = out_.size();
  files_start_ = out_.file_count();
  dropped_bytes_ = reserved_bytes_ = 0;
  file_bytes_ = 0;
}

void ReplyWriter::piece_is_gone() {
  start_ = body_start_ = files_start_ = 0;
  has_sent_ = true;
}

void ReplyWriter::finish_stream() {
  if (failed_) return;
  end_piece();
  const bool is_short =
      declared_bytes_ >= 0 && streamed_bytes_ != static_cast<uint64_t>(declared_bytes_);
  if (is_short && (!is_http() || sends_body())) {
    return fail(500, "the body is shorter than it was said to be");
  }
  if (is_chunked_ && sends_body()) out_.append("0\r\n\r\n");
  finished_ = true;
}

// Nothing that could be taken for the end is sent any more: no last chunk, no last byte.
void ReplyWriter::abort() {
  out_.truncate(body_start_);
  out_.drop_files(files_start_);
  failed_ = closes_ = true;
  aborts_ = is_http() && !is_chunked_ && declared_bytes_ < 0;
}

void ReplyWriter::abandon() {
  out_.truncate(start_);
  out_.drop_files(files_start_);
  finished_ = true;
}

}  // namespace hrmr::wire
