#include "modules/native_loader.h"

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <string_view>
#include <utility>

#include "modules/elf_check.h"
#include "modules/file_copy.h"
#include "modules/prefix_index.h"

namespace hrmr::modules {

namespace {

// The structs of ABI 1.0, whose fields every module has.
constexpr size_t kModuleBytesMin = offsetof(hrmr_module, unload) + sizeof(hrmr_module::unload);
constexpr size_t kRouteBytesMin = offsetof(hrmr_route, context) + sizeof(hrmr_route::context);

// One run of a module's load, behind the hrmr_load that it is handed.
struct LoadCall : hrmr_load {
  const ModuleConfig* config = nullptr;
  std::vector<std::unique_ptr<Route>> routes;
  PrefixIndex prefixes;
  std::string error;        // given to set_error
  std::string route_error;  // of the first add_route that failed
};

std::string_view view(hrmr_bytes bytes) {
  return bytes.data == nullptr ? std::string_view() : std::string_view(bytes.data, bytes.size);
}

int refuse(LoadCall& call, int result, std::string why) {
  if (call.route_error.empty()) call.route_error = std::move(why);
  return result;
}

// Only what the module's own header had is read; the rest keeps its default.
hrmr_route read_route(const hrmr_route* given) {
  hrmr_route route{};
  std::memcpy(&route, given, std::min(given->size, sizeof route));
  return route;
}

int add_route(hrmr_load* load, const hrmr_route* given) {
  if (load == nullptr) return HRMR_BAD_ARGUMENT;
  auto& call = *static_cast<LoadCall*>(load);
  if (given == nullptr || given->size < kRouteBytesMin) {
    return refuse(call, HRMR_BAD_ARGUMENT, "add_route: the route's `size` is not set");
  }
  const hrmr_route route = read_route(given);
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
  call.routes.push_back(std::move(added));
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

int set_error(hrmr_load* load, hrmr_bytes message) {
  if (load != nullptr) static_cast<LoadCall*>(load)->error = view(message);
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

// What is wrong with the exported struct; empty: nothing.
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
  if (!call.route_error.empty()) return call.route_error;
  if (result != HRMR_OK) return "load returned " + std::to_string(result);
  return "";
}

}  // namespace

void fill_load_functions(hrmr_host& host) {
  host.add_route = add_route;
  host.config = config;
  host.set_error = set_error;
  host.log = write_log;
}

Result<LoadedModule> NativeLoader::load(const LoadRequest& request) {
  kept_.sweep();
  const Status staged = stage(request);
  if (!staged.is_ok()) return staged;
  auto opened = NativeImage::open(request.private_path, request.path, kept_);
  if (!opened.is_ok()) return opened.status();
  LoadedModule loaded;
  loaded.image = opened.take();
  Status status = start(request, loaded);
  if (status.is_ok()) return loaded;
  const Status closed = loaded.image->close();
  if (!closed.is_ok()) {
    log_.warn("reload", request.path + " was refused, and is " + closed.message());
  }
  return status;
}

bool NativeLoader::is_same_content(const std::string& path, const Image& image) const {
  return has_same_bytes(path, static_cast<const NativeImage&>(image).private_path());
}

// The copy is checked, not the user's file: that one may change at any time.
Status NativeLoader::stage(const LoadRequest& request) {
  Status copied = copy_file(request.path, request.private_path);
  if (!copied.is_ok()) return copied;
  const Result<MappedFile> copy = MappedFile::open(request.private_path);
  const Status checked =
      copy.is_ok() ? check_elf(copy.value().bytes(), request.path) : copy.status();
  if (!checked.is_ok()) {
    ::unlink(request.private_path.c_str());
    return checked;
  }
  const std::string reasons = reasons_to_stay_mapped(copy.value().bytes());
  if (!reasons.empty()) {
    log_.warn("reload", request.path + " may stay in memory after each reload: " + reasons);
  }
  return Status::ok();
}

Status NativeLoader::start(const LoadRequest& request, LoadedModule& loaded) {
  auto& image = static_cast<NativeImage&>(*loaded.image);
  const auto* entry = static_cast<const hrmr_module*>(image.find_symbol("hrmr_module_v1"));
  if (entry == nullptr) {
    return Status::error(request.path +
                         " is not an HRMR module: it does not export hrmr_module_v1 "
                         "(HRMR_MODULE in module.hpp makes it)");
  }
  std::string fault = entry_fault(*entry, request.name);
  if (!fault.empty()) return Status::error(request.path + ": " + fault);
  loaded.version = entry->version == nullptr ? "" : entry->version;

  auto context = std::make_unique<hrmr_context>(hrmr_context{&log_, "module." + request.name});
  LoadCall call;
  call.size = sizeof(hrmr_load);
  call.host = &host_;
  call.context = context.get();
  call.config = request.config;
  image.set_context(std::move(context));
  int result = HRMR_FAILED;
  fault = load_fault(*entry, call, result);
  // A load that returned HRMR_OK holds what it opened, even if it is refused for a bad route.
  if (result == HRMR_OK) image.set_unload(entry->unload, call.state);
  if (!fault.empty()) {
    image.unload();
    return Status::error(fault);
  }
  loaded.routes = std::move(call.routes);
  return Status::ok();
}

}  // namespace hrmr::modules
