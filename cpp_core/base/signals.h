// SignalsBlocked: while it lives, threads made by this one are born with signals blocked.
//
// The signals of the process are the main thread's, which is Python's. Faults stay open, because
// the kernel kills a thread that faults with the signal blocked without running the handler that
// would have reported it.
//
// Threads: any; for as long as the scope.
#pragma once

#include <csignal>

namespace hrmr {

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
      sigdelset(&blocked, fault);
    }
    pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace hrmr
