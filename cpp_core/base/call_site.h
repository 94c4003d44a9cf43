// CallSite: which module's code this thread is running for the host, for who reports a crash of it.
// A CallScope stands around every call of the host into a module.
//
// It is on the hot path: nothing but views and numbers that are there anyway are stored, on the
// stack, and one thread-local pointer is set and set back.
//
// Lifetime: what the views show outlives the scope. Threads: each has its own; the reader is a
// signal handler on the thread itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hrmr {

struct CallSite {
  std::string_view module;
  uint64_t generation = 0;
  std::string_view what;  // the prefix of the route, or the name of the module's function
  bool is_route = false;
  size_t request_bytes = 0;  // of a route
  const CallSite* outer = nullptr;
};

// Null: the thread runs no module's code, or is a module's own.
//
// initial-exec, because it is read by a signal handler on threads that may never have called a
// module: with the default model of a shared library the first access of a thread goes through
// __tls_get_addr, which allocates. It costs one of the few words that libraries loaded later find
// in each thread's static block, and is one instruction to set.
[[gnu::tls_model("initial-exec")]] extern constinit thread_local const CallSite* current_call;

class CallScope {
 public:
  explicit CallScope(CallSite site) : site_(site) {
    site_.outer = current_call;
    current_call = &site_;
  }
  ~CallScope() { current_call = site_.outer; }
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  CallSite site_;
};

}  // namespace hrmr
