// CrashSignals: while one lives, a crash of this process (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT,
// an exception that nobody catches) writes one report to stderr before it ends the process.
//
// After the report the actions that were there before get their turn, as if we had not been there:
// Python's faulthandler, a sanitizer, the kernel with its core file and exit status.
//
// Several may live at a time, one for each server; the first installs the handlers, the last takes
// them out, where nobody has put others over them.
//
// Threads: made and destroyed on any.
#pragma once

namespace hrmr {

class CrashSignals {
 public:
  CrashSignals();
  ~CrashSignals();
  CrashSignals(const CrashSignals&) = delete;
  CrashSignals& operator=(const CrashSignals&) = delete;
};

}  // namespace hrmr
