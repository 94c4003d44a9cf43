// Session: what a connection has told about itself and agreed on with Redis' connection commands.
//
// Lifetime: part of its Stream. Threads: its loop's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "wire/framer.h"
#include "wire/line_framer.h"
#include "wire/request.h"

namespace hrmr::server {

struct ClientNames {
  std::string name;  // CLIENT SETNAME
  std::string library;
  std::string library_version;
};

struct Session {
  enum class Silence : uint8_t { kNone, kNext, kAll };  // CLIENT REPLY

  uint64_t id = 0;
  uint64_t opened_ms = 0;  // on the loop's clock
  // Has sent an array or called a command: what nobody knows is an unknown command then, and no
  // line without a route.
  bool speaks_resp = false;
  bool is_resp3 = false;  // HELLO 3
  Silence silence = Silence::kNone;
  std::unique_ptr<ClientNames> names;  // null: it has told none

  wire::ValueForm form() const {
    return is_resp3 ? wire::ValueForm::kResp3 : wire::ValueForm::kResp2;
  }
  // Whether the request that has just come is to be left without an answer.
  bool take_silence() {
    if (silence == Silence::kNone) return false;
    if (silence == Silence::kNext) silence = Silence::kNone;
    return true;
  }
  // A framer's refusal, in Redis' words for who speaks RESP.
  std::string_view reply_of(const wire::Frame& refused) const {
    const bool is_line = speaks_resp && refused.reply == wire::kLineTooLongReply;
    return is_line ? "-ERR Protocol error: too big inline request\r\n" : refused.reply;
  }
  ClientNames& own_names() {
    if (names == nullptr) names = std::make_unique<ClientNames>();
    return *names;
  }
};

}  // namespace hrmr::server
