// Sends a part of a file to a socket without copying it through this process (sendfile(2)).
//
// What may block: the socket never does, but a page of the file that is not in the page cache is
// read by the call itself. Ask page_cache.h first.
//
// Threads: any; one at a time for a socket.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/output.h"

namespace hrmr::net {

enum class FileSent : uint8_t {
  kSome,    // of the range, or all of it: `range` begins behind it
  kFull,    // the socket takes nothing now
  kBroken,  // the socket is broken, the file cannot be read, or it ends before the range does
};

// Sends at most `bytes_max` bytes of `range`, which is not empty, to the non-blocking `socket`.
// SIGPIPE must be blocked or ignored. kFull: the peer may take its time, and what was known of the
// page cache is forgotten.
FileSent send_some(int socket, FileRange& range, size_t bytes_max);

}  // namespace hrmr::net
