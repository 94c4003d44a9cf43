#include "bind/gil.h"

namespace hrmr::bind {
namespace {

struct ThreadState {
  PyGILState_STATE gil = PyGILState_UNLOCKED;
  PyThreadState* saved = nullptr;
};
thread_local ThreadState thread_state;

}  // namespace

PythonCrew::PythonCrew() { pthread_sigmask(SIG_BLOCK, nullptr, &makers_mask_); }

void PythonCrew::thread_begins() {
  // As Python's own threads have it, and not all blocked: a process that a handler starts inherits
  // the mask, and could not be terminated. Python runs its signal handlers on the main thread
  // whichever thread the kernel chose.
  pthread_sigmask(SIG_SETMASK, &makers_mask_, nullptr);
  thread_state.gil = PyGILState_Ensure();
  thread_state.saved = PyEval_SaveThread();
}

void PythonCrew::thread_ends() {
  PyEval_RestoreThread(thread_state.saved);
  PyGILState_Release(thread_state.gil);
}

void PythonCrew::group_begins() { PyEval_RestoreThread(thread_state.saved); }

void PythonCrew::group_ends() { thread_state.saved = PyEval_SaveThread(); }

}  // namespace hrmr::bind
