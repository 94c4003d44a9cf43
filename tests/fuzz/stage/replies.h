// Replies: reads what a peer took, reply by reply.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/byte_buffer.h"
#include "base/check.h"
#include "base/text.h"
#include "engine.h"
#include "script.h"
#include "wire/http1_verdict.h"
#include "wire/http_texts.h"
#include "wire/line_framer.h"

namespace hrmr::fuzz {

inline constexpr std::string_view kArrayTimeoutReply =
    "-ERR Protocol error: the command did not come in time\r\n";

// A refusal as it is sent.
inline std::string dated(std::string_view reply) {
  char date[29];
  wire::format_http_date(kWallS, date);
  ByteBuffer out;
  wire::append_dated(out, reply, {date, sizeof date});
  return std::string(out.view());
}

class Replies {
 public:
  Replies(std::string_view taken, const Disturbances& disturbances, bool may_end_early)
      : rest_(taken), disturbances_(disturbances), may_end_early_(may_end_early) {}

  // The connection ended here, and was allowed to.
  bool has_ended() const { return has_ended_; }
  bool is_empty() const { return rest_.empty(); }
  const Disturbances& disturbances() const { return disturbances_; }
  bool may_end_early() const { return may_end_early_; }
  // What follows is not judged.
  void give_up() {
    has_ended_ = has_given_up_ = true;
    rest_ = {};
  }
  bool has_given_up() const { return has_given_up_; }

  bool skip(std::string_view text) {
    if (!starts_with(rest_, text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  // Part of a line is left, too little to say what it would have been.
  bool is_cut_short() const { return may_end_early_ && rest_.find('\n') == std::string_view::npos; }
  bool begins_with(std::string_view text) const { return starts_with(rest_, text); }
  std::string_view take_rest() { return std::exchange(rest_, {}); }
  // Up to and with `mark`. Empty: it is cut off, which must have been allowed.
  std::string_view take_to(std::string_view mark) {
    const size_t at = rest_.find(mark);
    if (at == std::string_view::npos) return cut_off();
    return take(at + mark.size());
  }
  std::string_view take(size_t bytes) {
    if (bytes > rest_.size()) return cut_off();
    const std::string_view text = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return text;
  }
  // The answer to who was too slow, which ends the connection; or its beginning, if it may end
  // early.
  bool skip_timeout() {
    if (disturbances_.passed_ms < kTimeoutMs) return false;
    for (const std::string& text :
         {dated(wire::refused(wire::Verdict::kHeadTimeout).reply),
          dated(wire::refused(wire::Verdict::kBodyTimeout).reply),
          std::string(wire::kLineTimeoutReply), std::string(kArrayTimeoutReply)}) {
      if (skip(text)) return true;
      if (may_end_early_ && !rest_.empty() && starts_with(text, rest_)) return skip(rest_);
    }
    return false;
  }
  // Exactly that, or, if it may end early, less.
  void take_all(std::string_view text) {
    if (skip(text)) return;
    HRMR_CHECK(starts_with(text, rest_));
    static_cast<void>(cut_off());
  }

 private:
  std::string_view cut_off() {
    HRMR_CHECK(may_end_early_);
    has_ended_ = true;
    rest_ = {};
    return {};
  }

  std::string_view rest_;
  const Disturbances& disturbances_;
  bool may_end_early_;
  bool has_ended_ = false;
  bool has_given_up_ = false;
};

}  // namespace hrmr::fuzz
