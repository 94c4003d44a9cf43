// Options of one server, checked and with every default filled in by Python
// (python/hrmr/options.py). Threads: a value, not changed after start.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/limits.h"
#include "modules/registry.h"
#include "server/admin.h"
#include "server/patience.h"
#include "wire/framer.h"

namespace hrmr::server {

struct Options {
  bool tcp = true;          // false: the Unix socket only
  std::string unix_path;    // empty: none; "@name": abstract
  mode_t unix_mode = 0600;  // of its file
  std::string host = "127.0.0.1";
  uint16_t port = 0;                         // 0: any free one
  unsigned loops = 1;                        // 1 to limits::kLoopsMax
  unsigned threads = 4;                      // pool threads
  unsigned python_threads = 4;               // threads for Python functions
  size_t queue_slots = limits::kQueueSlots;  // per pool; a power of two
  wire::FrameLimits frame_limits;
  size_t connections_max = limits::kConnectionsMax;
  size_t connections_per_address_max = 0;  // 0: no bound
  size_t pipelined_requests_max = limits::kPipelinedRequestsMax;
  size_t output_bytes_max = limits::kOutputHighBytes;
  size_t reply_bytes_max = limits::kReplyBytesMax;
  Timeouts timeouts;
  uint64_t drain_timeout_ms = 10'000;  // how long SHUTDOWN waits for requests in flight
  AdminOptions admin;                  // who may RELOAD and SHUTDOWN
  bool crash_report = true;            // see base/crash_signals.h
  bool watch = false;                  // reload what changes on disk by itself
  uint64_t watch_poll_ms = 0;          // how often to look for changes; 0: inotify tells
  // Of a module's load and the like, and how often it is named again: see long_call.h.
  uint64_t long_call_ms = limits::kLongCallMs;
  uint64_t long_call_again_ms = limits::kLongCallAgainMs;
  modules::RegistryOptions registry;
};

}  // namespace hrmr::server
