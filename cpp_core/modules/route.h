// Route, PeriodicTimer: what a module registers when it loads. A command is a route with a framing
// of its own, so that pins, marks, batches and reloads are the same for both.
//
// Lifetime: both live as long as the Module whose load registered them. Threads: values that do not
// change after the load.
#pragma once

#include <hrmr/abi.h>

#include <cstddef>
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
  kRaw = HRMR_FRAMING_RAW,
  kCommand = HRMR_FRAMING_RAW + 1  // whatever its call was framed in
};
inline constexpr size_t kRouteFramings = static_cast<size_t>(RouteFraming::kCommand) + 1;

struct Route {
  std::string prefix;  // of a command its name, in capitals
  RouteFraming framing = RouteFraming::kLine;
  Run run = Run::kInline;
  hrmr_handler function = nullptr;         // null: it is a command
  hrmr_command_handler command = nullptr;  // null: it is none
  uint32_t arguments_min = 0;              // commands: without the name
  uint32_t arguments_max = HRMR_ANY_NUMBER;
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
// Of a command: that it is a name (command_name.h), and not one of HRMR's own.
Status check_prefix(std::string_view prefix, RouteFraming framing);

// "prefix 'PING '", "command 'KV.GET'": for people.
std::string shown(const Route& route);

// Whether a module may register a timer of that interval.
Status check_interval(uint64_t interval_ms);

}  // namespace hrmr::modules
