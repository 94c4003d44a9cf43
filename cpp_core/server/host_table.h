// The table of functions that modules are handed (abi.h), and the reply they write through.
//
// Threads: hrmr_reply is used on the thread of its handler's call only; one that is part of a
// Deferred by one thread at a time.
#pragma once

#include <hrmr/abi.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "wire/reply_writer.h"
#include "wire/value_writer.h"

namespace hrmr::server {
class Deferred;
struct Call;
class PieceChannel;
}  // namespace hrmr::server

// One answer under way, as abi.h names it.
struct hrmr_reply {
  hrmr::wire::ReplyWriter writer;
  std::string refusal;  // the first call that was refused and why, for people; empty: none
  const hrmr::server::Call* call = nullptr;    // that it answers; null: it was taken away
  hrmr::server::Deferred* deferred = nullptr;  // that it is part of; null: it is the handler's own
  bool is_for_pool = false;                    // the handler is to be called again there (to_pool)
  std::shared_ptr<hrmr::server::PieceChannel> channel = nullptr;  // null: it is not streamed
  std::optional<hrmr::wire::ValueWriter> values =
      std::nullopt;  // of a command; its bytes go through `writer`
};

namespace hrmr::server {

// What was wrong with a call on the reply is kept in `refusal`, for people, if it is the first.
int note_refusal(hrmr_reply* reply, wire::WriteResult result, std::string_view what);

// The functions that a command answers with.
void fill_value_functions(hrmr_host& host);

// Complete: the loading functions of the modules room and the reply functions of this one. Lives
// for ever.
const hrmr_host& host_table();

}  // namespace hrmr::server
