// AlternateStack: where signal handlers run on this thread while it lives. Without one, a thread
// that has used up its stack dies without a report, because the handler has no room to run in.
//
// Threads: made and destroyed on the same.
#pragma once

#include <csignal>
#include <cstddef>

namespace hrmr {

class AlternateStack {
 public:
  AlternateStack();
  ~AlternateStack();
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;

 private:
  void* pages_ = nullptr;  // null: no memory was left, and the thread does without
  size_t bytes_ = 0;
  stack_t before_{};
};

}  // namespace hrmr
