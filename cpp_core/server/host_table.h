// The table of functions that modules are handed (abi.h), and the reply they write through.
//
// Threads: hrmr_reply is used on the thread of its handler's call only.
#pragma once

#include <hrmr/abi.h>

#include <string>

#include "wire/reply_writer.h"

// One answer under way, as abi.h names it.
struct hrmr_reply {
  hrmr::wire::ReplyWriter writer;
  std::string refusal;  // the first call that was refused and why, for people; empty: none
};

namespace hrmr::server {

// Complete: the loading functions of the modules room and the reply functions of this one. Lives
// for ever.
const hrmr_host& host_table();

}  // namespace hrmr::server
