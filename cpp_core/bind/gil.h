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

class PythonCrew final : public work::Crew {
 public:
  // On the thread that makes the server, whose signal mask the Python threads get.
  PythonCrew();
  void thread_begins() override;
  void thread_ends() override;
  void group_begins() override;
  void group_ends() override;
  size_t group_max() const override { return limits::kGilBatches; }

 private:
  sigset_t makers_mask_;
};

}  // namespace hrmr::bind
