// ValueWriter: one typed value, as the answer to a command, written straight into its reply: as
// RESP2, RESP3 or JSON. A list, map or set is begun with its count, and then its elements follow,
// each a value of its own, also a nested one; a map's are key, value, key, value.
//
// What RESP2 lacks is written as Redis does: a map as a list of twice as many, a set as a list, a
// double as text, a boolean as 1 or 0, a verbatim text as text, nil as "$-1".
// JSON: bytes that are not UTF-8 are {"base64":"..."}, an infinity or NaN is null, an error inside
// a list is {"error":{"code":"...","message":"..."}}. Keys of maps are JSON strings.
//
// A call that would not be valid is refused and writes nothing. The value is complete when every
// count that was promised is there; what is not complete must not be sent (see fault()).
//
// Lifetime: `out` outlives it. Threads: as ReplyWriter.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/limits.h"
#include "wire/reply_writer.h"

namespace hrmr::wire {

class ValueWriter {
 public:
  ValueWriter(ReplyWriter& out, ValueForm form) : out_(out), form_(form) {}

  WriteResult nil();
  WriteResult boolean(bool value);
  WriteResult integer(int64_t value);
  WriteResult number(double value);
  WriteResult bulk(std::string_view bytes);
  // One line of text, such as OK: without '\r' and '\n'.
  WriteResult simple(std::string_view text);
  // `format`: three letters, as "txt" or "mkd"; RESP3 clients see it.
  WriteResult verbatim(std::string_view format, std::string_view text);
  // `code`: one word of capitals, digits and '_', as Redis' WRONGTYPE; empty: ERR. As the whole
  // value it makes the reply an error reply (HTTP: 500).
  WriteResult error(std::string_view code, std::string_view message);
  WriteResult begin_list(size_t count);
  WriteResult begin_set(size_t count);
  WriteResult begin_map(size_t pairs);

  bool is_complete() const { return is_complete_; }
  // Why the value is not complete, for people; empty when it is.
  std::string_view fault() const;

 private:
  enum class Kind : uint8_t { kList, kMap, kSet };
  struct Open {
    size_t left;  // elements still to come; keys and values of a map each count
    Kind kind;
    bool is_first;
  };

  bool is_json() const { return form_ == ValueForm::kJson; }
  bool is_resp3() const { return form_ == ValueForm::kResp3; }
  bool is_key() const;
  WriteResult check(bool may_be_key) const;
  WriteResult begin(Kind kind, size_t count);
  // All writing goes through these two: room for `bytes` and what JSON needs in front, then the
  // end of the value.
  char* room(size_t bytes);
  WriteResult done(const char* end);
  void close_finished();
  WriteResult put_number(std::string_view digits, std::string_view begin);
  WriteResult put_blob(char type, std::string_view head, std::string_view bytes);
  WriteResult put_json_bytes(std::string_view bytes);

  ReplyWriter& out_;
  ValueForm form_;
  bool is_complete_ = false;
  size_t depth_ = 0;
  char* begin_ = nullptr;                          // of the room
  std::array<Open, limits::kReplyDepthMax> open_;  // the first depth_ of them
};

}  // namespace hrmr::wire
