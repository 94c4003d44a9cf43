#include "bind/gil.h"

namespace hrmr::bind {
namespace {

struct ThreadState {
  PyGILState_STATE gil = PyGILState_UNLOCKED;
  PyThreadState* saved = nullptr;
};
thread_local ThreadState thread_state;

}  // namespace

void PythonCrew::thread_begins() {
  signals_.adopt();
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
