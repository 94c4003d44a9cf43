// Whether a peer got what it was owed: exactly one reply to each request that was wholly received,
// in order, each the one of its request; nothing behind a refusal, or behind a reply that closes.
#pragma once

#include <string_view>

#include "script.h"

namespace hrmr::fuzz {

void check_replies(const PeerSeen& peer, const Disturbances& disturbances, bool has_raw);

}  // namespace hrmr::fuzz
