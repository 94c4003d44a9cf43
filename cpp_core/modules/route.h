// Route, PeriodicTimer: what a module registers when it loads.
//
// Lifetime: both live as long as the Module whose load registered them. Threads: values that do not
// change after the load.
#pragma once

#include <hrmr/abi.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace hrmr::modules {

class Module;

enum class Run : uint8_t { kInline, kPool, kPython };
enum class RouteFraming : uint8_t {
  kLine = HRMR_FRAMING_LINE,
  kHttp = HRMR_FRAMING_HTTP,
  kRaw = HRMR_FRAMING_RAW
};

struct Route {
  std::string prefix;
  RouteFraming framing = RouteFraming::kLine;
  Run run = Run::kInline;
  hrmr_handler function = nullptr;
  void* context = nullptr;
  Module* module = nullptr;
};

struct PeriodicTimer {
  uint32_t interval_ms = 0;  // limits::kTimerIntervalMsMin to kTimerIntervalMsMax
  Run run = Run::kInline;    // on the first loop, or on a pool
  void (*function)(void* context) = nullptr;
  void* context = nullptr;
  Module* module = nullptr;
};

// HRMR_FRAMING_AUTO, decided: http if the prefix begins with an HTTP method followed by its end, a
// space or '/', or looks like `TOKEN /`; else line.
RouteFraming framing_of_prefix(std::string_view prefix);

// Whether a module may register that prefix: its length, and that it is not a word of HRMR itself.
Status check_prefix(std::string_view prefix, RouteFraming framing);

// Whether a module may register a timer of that interval.
Status check_interval(uint64_t interval_ms);

}  // namespace hrmr::modules
