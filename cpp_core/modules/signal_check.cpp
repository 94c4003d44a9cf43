#include "modules/signal_check.h"

#include <dlfcn.h>

#include <cstring>

#include "base/text.h"

namespace hrmr::modules {

namespace {

// The path under which the library was opened that the handler lies in; empty: in none.
std::string library_of(const struct sigaction& action) {
  if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) return "";
  // The kind of handler that takes a siginfo_t has the same place in the struct.
  Dl_info info{};
  if (::dladdr(reinterpret_cast<void*>(action.sa_handler), &info) == 0) return "";
  return info.dli_fname;
}

std::string name_of(int signal) {
  const char* const name = ::sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : std::string("SIG") + name;
}

}  // namespace

void HostSignals::note(const std::string& library_path) {
  const std::string folder = library_path.substr(0, library_path.rfind('/') + 1);
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction now {};
    // Fails for the numbers that the C library keeps for itself.
    if (::sigaction(signal, nullptr, &now) != 0) continue;
    if (!starts_with(library_of(now), folder)) noted_[static_cast<size_t>(signal)] = now;
  }
}

std::string HostSignals::take_back(const std::string& library_path) const {
  std::string taken;
  for (int signal = 1; signal < NSIG; ++signal) {
    struct sigaction now {};
    if (::sigaction(signal, nullptr, &now) != 0 || library_of(now) != library_path) continue;
    static_cast<void>(::sigaction(signal, &noted_[static_cast<size_t>(signal)], nullptr));
    taken += (taken.empty() ? "" : ", ") + name_of(signal);
  }
  if (taken.empty()) return "";
  return taken + ": signals are the server's, which has taken them back";
}

}  // namespace hrmr::modules
