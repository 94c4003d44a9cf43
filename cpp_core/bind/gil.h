// What the threads of the core need to run Python: the crew of the Python threads.
//
// A Python thread keeps one thread state for its whole life (making one per call costs six times as
// much) and takes the GIL once for all the jobs of a group.
#pragma once

#include <pybind11/pybind11.h>

#include <csignal>

#include "base/limits.h"
#include "work/worker_pool.h"

namespace hrmr::bind {

namespace py = pybind11;

// The signal mask of the thread that makes the server. Python code runs with it, as it would on any
// thread of Python's own, and not with all blocked as the engine's threads have them: a process
// that it starts inherits the mask, and could not be terminated. Python runs its signal handlers on
// the main thread whichever thread the kernel chose.
class MakersSignals {
 public:
  MakersSignals() { pthread_sigmask(SIG_BLOCK, nullptr, &mask_); }
  void adopt(sigset_t* before = nullptr) const { pthread_sigmask(SIG_SETMASK, &mask_, before); }

 private:
  sigset_t mask_;
};

// Adopted for a scope.
class SignalsAdopted {
 public:
  explicit SignalsAdopted(const MakersSignals& signals) { signals.adopt(&before_); }
  ~SignalsAdopted() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsAdopted(const SignalsAdopted&) = delete;
  SignalsAdopted& operator=(const SignalsAdopted&) = delete;

 private:
  sigset_t before_;
};

// For a thread that asks for the GIL while the interpreter goes: Python would end the thread by
// unwinding it, and no frame of ours can let that through. So it stays where it is until the
// process is gone, as Python 3.14 has it.
[[noreturn]] void stay_for_ever();

class PythonCrew final : public work::Crew {
 public:
  void thread_begins() override;
  void thread_ends() override;
  void group_begins() override;
  void group_ends() override;
  size_t group_max() const override { return limits::kGilBatches; }

 private:
  MakersSignals signals_;
};

}  // namespace hrmr::bind
