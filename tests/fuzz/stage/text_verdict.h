// The verdict on a connection that speaks no HTTP: lines and arrays, of which some are requests for
// a route, some call a command of a module, some one of the server's own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "replies.h"
#include "wire/framer.h"

namespace hrmr::fuzz {

struct TextRequest {
  wire::Framing framing;
  std::string bytes;
  std::string name;  // of an array: its first element
};

struct TextOutcome {
  std::vector<TextRequest> requests;
  std::string reply;  // of the refusal
  bool is_refused = false;
};

// What `sent` consists of, all of which has come. `at_end`: and nothing comes behind it.
TextOutcome feed_text(const wire::FrameLimits& limits, std::string_view sent, bool at_end);

void check_text(const TextOutcome& outcome, Replies& replies, bool is_local);

}  // namespace hrmr::fuzz
