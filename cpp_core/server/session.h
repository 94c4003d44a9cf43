// Session: what a connection has told about itself and agreed on with Redis' connection commands.
//
// Lifetime: part of its Stream. Threads: its loop's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

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
  uint64_t opened_ms = 0;    // on the loop's clock
  bool speaks_resp = false;  // has sent an array: what it cannot name is an unknown command
  bool is_resp3 = false;     // HELLO 3
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
  ClientNames& own_names() {
    if (names == nullptr) names = std::make_unique<ClientNames>();
    return *names;
  }
};

}  // namespace hrmr::server
