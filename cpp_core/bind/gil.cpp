#include "bind/gil.h"

#include <cxxabi.h>
#include <unistd.h>

namespace hrmr::bind {
namespace {

struct ThreadState {
  PyGILState_STATE gil = PyGILState_UNLOCKED;
  PyThreadState* saved = nullptr;
};
thread_local ThreadState thread_state;

}  // namespace

void stay_for_ever() {
  for (;;) ::pause();
}

void PythonCrew::thread_begins() {
  signals_.adopt();
  thread_state.gil = PyGILState_Ensure();
  thread_state.saved = PyEval_SaveThread();
}

void PythonCrew::thread_ends() {
  group_begins();
  PyGILState_Release(thread_state.gil);
}

void PythonCrew::group_begins() {
  try {
    PyEval_RestoreThread(thread_state.saved);
  } catch (abi::__forced_unwind&) {
    stay_for_ever();
  }
}

void PythonCrew::group_ends() { thread_state.saved = PyEval_SaveThread(); }

}  // namespace hrmr::bind
