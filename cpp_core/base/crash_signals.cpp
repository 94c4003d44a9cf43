#include "base/crash_signals.h"

#include <cxxabi.h>
#include <execinfo.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <string_view>
#include <typeinfo>

#include "base/call_site.h"
#include "base/crash_report.h"
#include "base/limits.h"
#include "base/mapped_code.h"

namespace hrmr {

namespace {

constexpr std::array kSignals = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

// What was there before us. Written while ours are not installed, read by the handlers.
std::array<struct sigaction, kSignals.size()> actions_before;
std::terminate_handler terminate_before = nullptr;

std::mutex users_mutex;
unsigned users = 0;

std::atomic<pid_t> reporting_thread{0};

// The exception that ends the process. Its own thread writes it and, being aborted, reads it.
std::atomic<pid_t> terminating_thread{0};
char exception_text[limits::kExceptionBytesMax];

void on_crash(int signal, siginfo_t* info, void* context);

// --- the handler ---

bool is_ours(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == on_crash;
}

void restore_actions() {
  for (size_t i = 0; i < kSignals.size(); ++i) {
    struct sigaction now {};
    if (::sigaction(kSignals[i], nullptr, &now) != 0 || !is_ours(now)) continue;
    ::sigaction(kSignals[i], &actions_before[i], nullptr);
  }
}

// The report must not keep a process that shall die: if it hangs, SIGALRM ends it.
void limit_time() {
  struct sigaction deadly {};
  deadly.sa_handler = SIG_DFL;
  ::sigaction(SIGALRM, &deadly, nullptr);
  sigset_t alarm_only;
  sigemptyset(&alarm_only);
  sigaddset(&alarm_only, SIGALRM);
  pthread_sigmask(SIG_UNBLOCK, &alarm_only, nullptr);
  ::alarm(limits::kCrashReportS);
}

bool is_code(uint64_t address) {
  MappedCode code;
  return find_mapped_code(address, code) && code.is_executable;
}

// The innermost frames of the code that the signal interrupted.
class Backtrace {
 public:
  explicit Backtrace(mcontext_t& registers) {
#if defined(__x86_64__)
    take(registers.gregs[REG_RIP], registers.gregs[REG_RSP]);
#elif defined(__aarch64__)
    take_from(registers.pc);
#elif defined(__riscv)
    take_from(registers.__gregs[REG_PC]);
#else
    static_cast<void>(registers);
    take_from(0);
#endif
  }

  void* const* frames() const { return frames_ + first_; }
  size_t count() const { return count_ - first_; }
  bool is_exact() const { return is_exact_; }

 private:
#if defined(__x86_64__)
  // A call to where no code is, such as into a generation that is gone: the unwinder would look at
  // that code and be the next to crash. Shown the registers as they were before the call, it begins
  // at the caller.
  void take(greg_t& instruction, greg_t& stack) {
    const greg_t target = instruction;
    greg_t caller = 0;
    if (is_code(static_cast<uint64_t>(target))) return take_from(static_cast<uint64_t>(target));
    // A read that fails, and does not crash, where there is no stack either.
    const iovec here{&caller, sizeof caller};
    const iovec there{reinterpret_cast<void*>(stack), sizeof caller};
    if (::process_vm_readv(::getpid(), &here, 1, &there, 1, 0) == sizeof caller &&
        is_code(static_cast<uint64_t>(caller))) {
      instruction = caller;
      stack += sizeof caller;
      take_from(static_cast<uint64_t>(caller));
      instruction = target;
      stack -= sizeof caller;
    }
    // In place of the last frame of the handler.
    if (first_ != 0) {
      --first_;
    } else {
      count_ = 1;
    }
    frames_[first_] = reinterpret_cast<void*>(target);
    is_exact_ = true;
  }
#endif

  // `address`: of the innermost frame; those above it are of the handler.
  void take_from(uint64_t address) {
    count_ = static_cast<size_t>(std::max(::backtrace(frames_, std::size(frames_)), 0));
    void** const found = std::find(frames_, frames_ + count_, reinterpret_cast<void*>(address));
    is_exact_ = found != frames_ + count_;
    first_ = is_exact_ ? static_cast<size_t>(found - frames_) : 0;
  }

  void* frames_[limits::kBacktraceFramesMax];
  size_t first_ = 0;
  size_t count_ = 0;
  bool is_exact_ = false;
};

void report(int signal, const siginfo_t& info, void* context) {
  Crash crash;
  crash.signal = signal;
  crash.code = info.si_code;
  crash.fault_address = reinterpret_cast<uint64_t>(info.si_addr);
  if (info.si_code == SI_USER && info.si_pid != ::getpid()) crash.sender = info.si_pid;
  if (signal == SIGABRT && terminating_thread.load() == ::gettid()) {
    crash.exception = {exception_text, ::strnlen(exception_text, sizeof exception_text)};
  }
  // First what can be said without the stack, which may be in ruins: who unwinds it may crash.
  const bool is_known = current_call != nullptr;
  bool is_module = is_known && write_crash_head(crash, STDERR_FILENO);
  const Backtrace backtrace(static_cast<ucontext_t*>(context)->uc_mcontext);
  crash.frames = backtrace.frames();
  crash.frame_count = backtrace.count();
  crash.is_exact = backtrace.is_exact();
  if (!is_known) is_module = write_crash_head(crash, STDERR_FILENO);
  write_crash_frames(crash, is_module, STDERR_FILENO);
}

// A fault happens again when the handler returns, and so comes to the action before ours with all
// its registers; any other signal has to be sent again. It stays blocked until we return.
void hand_on(int signal, const siginfo_t& info) {
  restore_actions();
  const bool comes_again = info.si_code > 0 && signal != SIGABRT;
  if (!comes_again) ::tgkill(::getpid(), ::gettid(), signal);
}

void on_crash(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  pid_t reporting = 0;
  if (reporting_thread.compare_exchange_strong(reporting, ::gettid())) {
    limit_time();
    report(signal, *info, context);
    ::alarm(0);
    hand_on(signal, *info);
  } else if (reporting == ::gettid()) {
    // The report itself was aborted. (The kernel ends a thread that faults in here at once, because
    // the signals of faults are blocked.)
    struct sigaction deadly {};
    deadly.sa_handler = SIG_DFL;
    ::sigaction(signal, &deadly, nullptr);
    ::tgkill(::getpid(), ::gettid(), signal);
  } else {
    for (;;) ::pause();  // until the first has ended the process
  }
  errno = saved_errno;
}

// --- exceptions that nobody catches ---

void note(std::string_view type, std::string_view text) {
  size_t used = 0;
  const auto add = [&](std::string_view part) {
    const size_t size = std::min(part.size(), sizeof exception_text - used);
    std::memcpy(exception_text + used, part.data(), size);
    used += size;
  };
  add(type);
  if (!text.empty()) add(": ");
  add(text);
  if (used < sizeof exception_text) exception_text[used] = '\0';
}

// In std::terminate and not in a signal handler: memory may still be asked for.
void note_exception() {
  const std::type_info* const type = abi::__cxa_current_exception_type();
  if (type == nullptr) return;
  int result = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(type->name(), nullptr, nullptr, &result), &std::free);
  const char* const shown = result == 0 && name != nullptr ? name.get() : type->name();
  try {
    throw;
  } catch (const std::exception& error) {
    note(shown, error.what());
  } catch (...) {
    note(shown, "");
  }
}

void on_terminate() {
  pid_t nobody = 0;
  if (terminating_thread.compare_exchange_strong(nobody, ::gettid())) note_exception();
  if (terminate_before != nullptr) terminate_before();
  std::abort();
}

// --- in and out ---

void install() {
  // The first call loads libgcc, which a signal handler must not do.
  void* frame = nullptr;
  static_cast<void>(::backtrace(&frame, 1));
  struct sigaction ours {};
  ours.sa_sigaction = on_crash;
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
  // Faults in the report itself find their signal blocked; see on_crash.
  sigemptyset(&ours.sa_mask);
  for (const int signal : kSignals) sigaddset(&ours.sa_mask, signal);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    // Asked for first: our handler may run before a single call had told what it replaced.
    struct sigaction now {};
    ::sigaction(kSignals[i], nullptr, &now);
    if (is_ours(now)) continue;  // somebody put back what they had found: ours
    actions_before[i] = now;
    ::sigaction(kSignals[i], &ours, nullptr);
  }
  if (std::get_terminate() != on_terminate) terminate_before = std::set_terminate(on_terminate);
}

void take_out() {
  restore_actions();
  if (std::get_terminate() == on_terminate) std::set_terminate(terminate_before);
}

}  // namespace

CrashSignals::CrashSignals() {
  const std::lock_guard lock(users_mutex);
  if (users++ == 0) install();
}

CrashSignals::~CrashSignals() {
  const std::lock_guard lock(users_mutex);
  if (--users == 0) take_out();
}

}  // namespace hrmr
