// The report of a crash: which signal, in which module, generation and route, and the backtrace
// with the names of the module's functions. Written inside a signal handler: without a heap, a lock
// or the loader.
//
// Threads: the one that crashed.
#pragma once

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hrmr {

struct Crash {
  int signal = 0;
  int code = 0;  // siginfo_t::si_code
  uint64_t fault_address = 0;
  int sender = 0;                 // another process that sent the signal; 0: none did
  std::string_view exception;     // that nobody caught: type and text; empty: none
  void* const* frames = nullptr;  // innermost first, handlers left out
  size_t frame_count = 0;
  // The first frame is where the crash was, not where a call returns to.
  bool is_exact = false;
};

// The first lines: what current_call of this thread says, or else, on a thread of a module's own,
// what the first frame in a module's code says. True: it was a module.
bool write_crash_head(const Crash& crash, int fd);
// The rest.
void write_crash_frames(const Crash& crash, bool is_module, int fd);

}  // namespace hrmr
