// HostSignals: the signals are the host's. A handler that lies in a module's code would be called
// when that code is gone, so it is taken back: right after the load, and right before the unload.
//
// Threads: the reload thread. Dispositions belong to the process: who changes them elsewhere at the
// same moment (Python does, on the main thread) may be noted one load late.
#pragma once

#include <array>
#include <csignal>
#include <string>

namespace hrmr::modules {

class HostSignals {
 public:
  // Remembers what each signal does now: before the library `library_path` is opened. A handler
  // that lies in a library of the same folder is a module's and not remembered.
  void note(const std::string& library_path);

  // Each signal whose handler now lies in that library is given back what was noted last. Returns
  // what to say about it, "SIGUSR1, SIGTERM: signals are ..."; empty: there was none.
  std::string take_back(const std::string& library_path) const;

 private:
  std::array<struct sigaction, NSIG> noted_{};
};

}  // namespace hrmr::modules
