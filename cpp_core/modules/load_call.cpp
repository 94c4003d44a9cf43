#include "modules/load_call.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "modules/command_name.h"
#include "modules/native_image.h"
#include "modules/prefix_index.h"

namespace hrmr::modules {

namespace {

// The structs of ABI 1.0, whose fields every module has.
constexpr size_t kModuleBytesMin = offsetof(hrmr_module, unload) + sizeof(hrmr_module::unload);
constexpr size_t kRouteBytesMin = offsetof(hrmr_route, context) + sizeof(hrmr_route::context);
constexpr size_t kCommandBytesMin = offsetof(hrmr_command, context) + sizeof(hrmr_command::context);
constexpr size_t kTimerBytesMin = offsetof(hrmr_timer, context) + sizeof(hrmr_timer::context);

// One run of a module's load, behind the hrmr_load that it is handed.
struct LoadCall : hrmr_load {
  LoadCall() : hrmr_load{} {}
  const char* name = nullptr;  // the module's
  const ModuleConfig* config = nullptr;
  Registrations added;
  PrefixIndex prefixes;
  std::string error;          // given to set_error
  std::string refused_error;  // of the first other call into the host that failed
};

// One run of a module's save_state, behind the hrmr_save that it is handed.
struct SaveCall : hrmr_save {
  SaveCall() : hrmr_save{} {}
  std::string bytes;
  bool is_too_large = false;
  std::string error;  // given to save_error
};

std::string_view view(hrmr_bytes bytes) {
  return bytes.data == nullptr ? std::string_view() : std::string_view(bytes.data, bytes.size);
}

int refuse(LoadCall& call, int result, std::string why) {
  if (call.refused_error.empty()) call.refused_error = std::move(why);
  return result;
}

// Only what the module's own header had is read; the rest keeps its default.
template <class Sized>
Sized read_sized(const Sized& given) {
  Sized known{};
  std::memcpy(&known, &given, std::min(given.size, sizeof known));
  return known;
}

int add_route(hrmr_load* load, const hrmr_route* given) {
  if (load == nullptr) return HRMR_BAD_ARGUMENT;
  auto& call = *static_cast<LoadCall*>(load);
  if (given == nullptr || given->size < kRouteBytesMin) {
    return refuse(call, HRMR_BAD_ARGUMENT, "add_route: the route's `size` is not set");
  }
  const hrmr_route route = read_sized(*given);
  const std::string_view prefix = view(route.prefix);
  const std::string shown = "'" + std::string(prefix.substr(0, 64)) + "'";
  if (route.framing > HRMR_FRAMING_RAW) {
    return refuse(call, HRMR_BAD_ARGUMENT,
                  "prefix " + shown + ": framing " + std::to_string(route.framing) + " is unknown");
  }
  if (route.run > HRMR_RUN_POOL) {
    return refuse(call, HRMR_BAD_ARGUMENT,
                  "prefix " + shown + ": run " + std::to_string(route.run) + " is unknown");
  }
  if (route.function == nullptr) {
    return refuse(call, HRMR_BAD_ARGUMENT, "prefix " + shown + " has no function");
  }
  const RouteFraming framing = route.framing == HRMR_FRAMING_AUTO
                                   ? framing_of_prefix(prefix)
                                   : static_cast<RouteFraming>(route.framing);
  const Status allowed = check_prefix(prefix, framing);
  if (!allowed.is_ok()) return refuse(call, HRMR_BAD_ARGUMENT, allowed.message());
  if (call.prefixes.find_conflict(prefix, framing) != nullptr) {
    return refuse(call, HRMR_CONFLICT, "prefix " + shown + " is registered twice by this module");
  }
  auto added = std::make_unique<Route>();
  added->prefix = prefix;
  added->framing = framing;
  added->run = route.run == HRMR_RUN_POOL ? Run::kPool : Run::kInline;
  added->function = route.function;
  added->context = route.context;
  call.prefixes.add(*added);
  call.added.routes.push_back(std::move(added));
  return HRMR_OK;
}

int add_command(hrmr_load* load, const hrmr_command* given) {
  if (load == nullptr) return HRMR_BAD_ARGUMENT;
  auto& call = *static_cast<LoadCall*>(load);
  if (given == nullptr || given->size < kCommandBytesMin) {
    return refuse(call, HRMR_BAD_ARGUMENT, "add_command: the command's `size` is not set");
  }
  const hrmr_command command = read_sized(*given);
  auto added = std::make_unique<Route>();
  added->prefix = command_name(view(command.name));
  added->framing = RouteFraming::kCommand;
  const Status allowed = check_prefix(added->prefix, added->framing);
  if (!allowed.is_ok()) return refuse(call, HRMR_BAD_ARGUMENT, allowed.message());
  const std::string name = shown(*added);
  if (command.run > HRMR_RUN_POOL) {
    return refuse(call, HRMR_BAD_ARGUMENT,
                  name + ": run " + std::to_string(command.run) + " is unknown");
  }
  if (command.function == nullptr) {
    return refuse(call, HRMR_BAD_ARGUMENT, name + " has no function");
  }
  if (command.arguments_min > command.arguments_max) {
    return refuse(call, HRMR_BAD_ARGUMENT, name + ": arguments_min is above arguments_max");
  }
  if (call.prefixes.find_conflict(added->prefix, added->framing) != nullptr) {
    return refuse(call, HRMR_CONFLICT, name + " is registered twice by this module");
  }
  added->run = command.run == HRMR_RUN_POOL ? Run::kPool : Run::kInline;
  added->command = command.function;
  added->arguments_min = command.arguments_min;
  added->arguments_max = command.arguments_max;
  added->context = command.context;
  call.prefixes.add(*added);
  call.added.routes.push_back(std::move(added));
  return HRMR_OK;
}

int add_timer(hrmr_load* load, const hrmr_timer* given) {
  if (load == nullptr) return HRMR_BAD_ARGUMENT;
  auto& call = *static_cast<LoadCall*>(load);
  if (given == nullptr || given->size < kTimerBytesMin) {
    return refuse(call, HRMR_BAD_ARGUMENT, "add_timer: the timer's `size` is not set");
  }
  const hrmr_timer timer = read_sized(*given);
  const Status allowed = check_interval(timer.interval_ms);
  if (!allowed.is_ok()) return refuse(call, HRMR_BAD_ARGUMENT, allowed.message());
  if (timer.run > HRMR_RUN_POOL) {
    return refuse(call, HRMR_BAD_ARGUMENT,
                  "a timer's run " + std::to_string(timer.run) + " is unknown");
  }
  if (timer.function == nullptr) {
    return refuse(call, HRMR_BAD_ARGUMENT, "a timer has no function");
  }
  auto added = std::make_unique<PeriodicTimer>();
  added->interval_ms = timer.interval_ms;
  added->run = timer.run == HRMR_RUN_POOL ? Run::kPool : Run::kInline;
  added->function = timer.function;
  added->context = timer.context;
  call.added.timers.push_back(std::move(added));
  return HRMR_OK;
}

hrmr_bytes config(hrmr_load* load, const char* key) {
  if (load == nullptr || key == nullptr) return {nullptr, 0};
  const ModuleConfig* values = static_cast<LoadCall*>(load)->config;
  if (values == nullptr) return {nullptr, 0};
  const auto found = values->find(std::string_view(key));
  if (found == values->end()) return {nullptr, 0};
  return {found->second.c_str(), found->second.size()};
}

// A key may be empty, in quotes.
void add_to_list(std::string& list, std::string_view key) {
  list.append(list.empty() ? "" : ", ").append(key.empty() ? "\"\"" : key);
}

int config_keys(hrmr_load* load, const char* const* known, size_t count) {
  if (load == nullptr || (known == nullptr && count != 0)) return HRMR_BAD_ARGUMENT;
  auto& call = *static_cast<LoadCall*>(load);
  if (call.config == nullptr) return HRMR_OK;
  const char* const* const end = known + count;
  std::string unknown;
  for (const auto& [key, value] : *call.config) {
    if (std::find(known, end, std::string_view(key)) == end) add_to_list(unknown, key);
  }
  if (unknown.empty()) return HRMR_OK;
  std::string all;
  std::for_each(known, end, [&all](const char* key) { add_to_list(all, key); });
  return refuse(call, HRMR_FAILED,
                std::string("[modules.") + call.name + "] " + unknown + ": no such key; " +
                    (all.empty() ? "it has none" : "the keys are " + all));
}

int set_error(hrmr_load* load, hrmr_bytes message) {
  if (load != nullptr) static_cast<LoadCall*>(load)->error = view(message);
  return HRMR_FAILED;
}

int save(hrmr_save* given, hrmr_bytes bytes) {
  if (given == nullptr) return HRMR_BAD_ARGUMENT;
  auto& call = *static_cast<SaveCall*>(given);
  if (bytes.size > limits::kSavedBytesMax - call.bytes.size()) {
    call.is_too_large = true;
    return HRMR_TOO_LARGE;
  }
  call.bytes.append(view(bytes));
  return HRMR_OK;
}

int save_error(hrmr_save* given, hrmr_bytes message) {
  if (given != nullptr) static_cast<SaveCall*>(given)->error = view(message);
  return HRMR_FAILED;
}

void write_log(hrmr_context* context, int level, hrmr_bytes message) {
  if (context == nullptr) return;
  LogLevel known = LogLevel::kDebug;
  for (const LogLevel each : {LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    if (level >= static_cast<int>(each)) known = each;
  }
  context->log->write(known, context->source, std::string(view(message)));
}

std::string version_text(uint32_t abi) {
  return std::to_string(abi >> 16) + "." + std::to_string(abi & 0xffff);
}

// Calls load; what went wrong, or empty.
std::string load_fault(const hrmr_module& entry, LoadCall& call, int& result) {
  try {
    result = entry.load(&call);
  } catch (const std::exception& error) {
    return std::string("load threw a C++ exception: ") + error.what();
  } catch (...) {
    return "load threw a C++ exception";
  }
  if (result != HRMR_OK && !call.error.empty()) return call.error;
  if (!call.refused_error.empty()) return call.refused_error;
  if (result != HRMR_OK) return "load returned " + std::to_string(result);
  return "";
}

// Calls save_state; what went wrong, or empty.
std::string save_fault(const hrmr_module& entry, SaveCall& call, void* state) {
  int result = HRMR_FAILED;
  try {
    result = entry.save_state(state, &call);
  } catch (const std::exception& error) {
    return std::string("save_state threw a C++ exception: ") + error.what();
  } catch (...) {
    return "save_state threw a C++ exception";
  }
  if (!call.error.empty()) return call.error;
  if (call.is_too_large) {
    return "its saved state is larger than " + std::to_string(limits::kSavedBytesMax) + " bytes";
  }
  if (result != HRMR_OK) return "save_state returned " + std::to_string(result);
  return "";
}

}  // namespace

void fill_load_functions(hrmr_host& host) {
  host.add_route = add_route;
  host.add_command = add_command;
  host.add_timer = add_timer;
  host.config = config;
  host.config_keys = config_keys;
  host.set_error = set_error;
  host.save = save;
  host.save_error = save_error;
  host.log = write_log;
}

std::string entry_fault(const hrmr_module& entry, const std::string& name) {
  // In this order: only the first two fields are where they are in every version.
  if (entry.size < offsetof(hrmr_module, abi) + sizeof entry.abi) {
    return "its hrmr_module_v1 does not set `size`";
  }
  if (entry.abi >> 16 != HRMR_ABI_MAJOR || (entry.abi & 0xffff) > HRMR_ABI_MINOR) {
    return "it was compiled for HRMR ABI " + version_text(entry.abi) + ", this host speaks " +
           version_text(HRMR_ABI) + ": rebuild it with `hrmr build`";
  }
  if (entry.size < kModuleBytesMin) {
    return "its hrmr_module_v1 has " + std::to_string(entry.size) + " bytes, ABI " +
           version_text(entry.abi) + " has at least " + std::to_string(kModuleBytesMin);
  }
  if (entry.name == nullptr || name != entry.name) {
    return std::string("the module calls itself '") + (entry.name == nullptr ? "" : entry.name) +
           "', its file calls it '" + name + "': the two must be the same";
  }
  if (entry.load == nullptr) return "it has no load function";
  return "";
}

hrmr_module read_entry(const hrmr_module& entry) { return read_sized(entry); }

Result<Registrations> call_load(const hrmr_module& entry, const LoadCallSite& site,
                                const LoadArguments& arguments, void*& state, bool& has_loaded) {
  LoadCall call;
  call.size = sizeof(hrmr_load);
  call.host = site.host;
  call.context = site.context;
  call.generation = site.generation;
  call.name = entry.name;
  call.config = arguments.config;
  if (arguments.previous != nullptr) {
    // A string's bytes are never null, also when there are none.
    call.previous_state = {arguments.previous->bytes.data(), arguments.previous->bytes.size()};
    call.previous_schema = arguments.previous->schema;
  }
  int result = HRMR_FAILED;
  const std::string fault = load_fault(entry, call, result);
  has_loaded = result == HRMR_OK;
  state = call.state;
  if (!fault.empty()) return Status::error(fault);
  call.added.version = entry.version == nullptr ? "" : entry.version;
  return std::move(call.added);
}

Result<SavedState> call_save_state(const hrmr_module& entry, const hrmr_host& host, void* state) {
  SaveCall call;
  call.size = sizeof(hrmr_save);
  call.host = &host;
  const std::string fault = save_fault(entry, call, state);
  if (!fault.empty()) return Status::error("its state could not be saved: " + fault);
  return SavedState{call.schema, std::move(call.bytes)};
}

}  // namespace hrmr::modules
