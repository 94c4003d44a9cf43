#include "modules/registry.h"

#include <algorithm>
#include <exception>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "modules/prefix_index.h"

namespace hrmr::modules {

namespace {

constexpr size_t kNoPlace = SIZE_MAX;  // where modules without a file are: behind all places

double ms_since(uint64_t started_us) {
  return static_cast<double>(monotonic_us() - started_us) / 1000.0;
}

std::string shown(const Module& module) {
  return module.name() + " generation " + std::to_string(module.generation());
}

struct Conflict {
  const Route* wanted = nullptr;  // null: there is none
  const Route* holder = nullptr;
};

Conflict find_conflict(const PrefixIndex& holders, const Module& module) {
  for (const auto& route : module.routes()) {
    const Route* const holder = holders.find_conflict(route->prefix, route->framing);
    if (holder != nullptr) return {route.get(), holder};
  }
  return {};
}

void add_routes(PrefixIndex& holders, const Module& module) {
  for (const auto& route : module.routes()) holders.add(*route);
}

// A loader is asked to return errors; one that throws must not end the reload thread.
Result<LoadedModule> load_safely(Loader& loader, const LoadRequest& request) {
  try {
    return loader.load(request);
  } catch (const std::exception& error) {
    return Status::error(std::string("the loader failed: ") + error.what());
  }
}

}  // namespace

// `outcome.change` is what shall happen, and in the end what did.
struct ModuleRegistry::Step {
  Outcome outcome;
  Known* known = nullptr;              // null: a name that nobody knows
  const FoundModule* found = nullptr;  // null: there is no file
  std::unique_ptr<Module> candidate;

  bool is_load() const {
    return outcome.change == Change::kLoaded || outcome.change == Change::kReloaded;
  }
  void fail(std::string why) {
    outcome.change = Change::kFailed;
    outcome.message = std::move(why);
  }
};

ModuleRegistry::ModuleRegistry(RegistryOptions options, std::vector<Loader*> loaders,
                               Publisher& publisher, Log& log)
    : options_(std::move(options)),
      publisher_(publisher),
      log_(log),
      scanner_(options_.places, std::move(loaders), log) {}

ModuleRegistry::~ModuleRegistry() {
  HRMR_CHECK(retired_.empty());
  HRMR_CHECK(loaded().empty());
}

ReloadReport ModuleRegistry::reload(const std::vector<std::string>& only) {
  const uint64_t started_us = monotonic_us();
  const ScanResult found = scan();
  std::vector<Step> steps = plan(found, only);
  const bool is_marked = mark_reloading(steps);
  for (Step& step : steps) {
    if (step.is_load()) load(step);
  }
  settle_conflicts(steps);
  commit(steps, is_marked);
  ReloadReport report;
  for (Step& step : steps) report.outcomes.push_back(std::move(step.outcome));
  report.ms = ms_since(started_us);
  return report;
}

void ModuleRegistry::set_inline_module(const std::string& name, Loader& loader, uint64_t revision) {
  FoundModule module;
  module.name = name;
  module.loader = &loader;
  module.place = kNoPlace;
  module.revision = revision;
  if (!is_module_name(name)) module.fault = "'" + name + "' is not a name for a module";
  inline_modules_[name] = std::move(module);
}

ScanResult ModuleRegistry::scan() {
  ScanResult found = scanner_.scan();
  for (const auto& [name, module] : inline_modules_) found.modules[name] = module;
  return found;
}

std::vector<ModuleRegistry::Step> ModuleRegistry::plan(const ScanResult& found,
                                                       const std::vector<std::string>& only) {
  std::set<std::string> names(only.begin(), only.end());
  if (names.empty()) {
    for (const auto& [name, module] : found.modules) names.insert(name);
    for (const auto& [name, known] : known_) {
      if (known.module != nullptr) names.insert(name);
    }
  }
  std::vector<Step> steps;
  for (const std::string& name : names) {
    Step step;
    step.outcome.name = name;
    const auto file = found.modules.find(name);
    if (file != found.modules.end()) step.found = &file->second;
    const auto known = known_.find(name);
    if (known != known_.end()) step.known = &known->second;
    // Only names that have a file are remembered: anybody may ask for any name.
    if (step.found != nullptr) step.known = &known_[name];
    const uint64_t started_us = monotonic_us();
    decide(step, found);
    step.outcome.ms = ms_since(started_us);
    steps.push_back(std::move(step));
  }
  return steps;
}

void ModuleRegistry::decide(Step& step, const ScanResult& found) {
  const bool is_loaded = step.known != nullptr && step.known->module != nullptr;
  if (is_loaded) {
    step.outcome.old_generation = step.known->module->generation();
    // Neither the removal of a file nor the return of an older one can be told from a folder that
    // cannot be read.
    const size_t place = step.known->source.place;
    const auto fault = found.place_faults.find(place);
    if (fault != found.place_faults.end() && (step.found == nullptr || step.found->place < place)) {
      return step.fail(fault->second);
    }
  }
  if (step.found == nullptr) {
    step.outcome.change = Change::kRemoved;
    if (!is_loaded) {
      step.fail("no module of that name is loaded, and none is in " + scanner_.shown_places());
    }
  } else if (!step.found->fault.empty()) {
    step.fail(step.found->fault);
  } else if (!is_loaded) {
    step.outcome.change = Change::kLoaded;
  } else if (!is_unchanged(*step.known, *step.found)) {
    step.outcome.change = Change::kReloaded;
  }
}

// Also remembers a new stamp of unchanged content.
bool ModuleRegistry::is_unchanged(Known& known, const FoundModule& found) {
  FoundModule& source = known.source;
  if (source.loader != found.loader || source.path != found.path) return false;
  if (found.path.empty()) return source.revision == found.revision && !known.must_retry;
  if (source.stamp == found.stamp && source.is_settled && !known.must_retry) return true;
  if (!found.loader->is_same_content(found.path, *known.module->image_)) return false;
  source = found;
  known.must_retry = false;
  return true;
}

// Policy `reject`: what is about to be reloaded answers 503 until it is decided.
bool ModuleRegistry::mark_reloading(const std::vector<Step>& steps) {
  std::vector<const Module*> reloading;
  for (const Step& step : steps) {
    if (step.outcome.change != Change::kReloaded) continue;
    const auto policy = options_.policies.find(step.outcome.name);
    const ReloadPolicy own = policy == options_.policies.end() ? options_.policy : policy->second;
    if (own == ReloadPolicy::kReject) reloading.push_back(step.known->module.get());
  }
  if (reloading.empty()) return false;
  publisher_.publish(build_table(reloading), {});
  return true;
}

void ModuleRegistry::load(Step& step) {
  const uint64_t started_us = monotonic_us();
  Status status = load_candidate(step);
  if (!status.is_ok()) {
    ++step.known->failed_loads;
    step.fail(status.message());
  }
  step.outcome.ms += ms_since(started_us);
}

Status ModuleRegistry::load_candidate(Step& step) {
  const std::string& name = step.outcome.name;
  const auto draining = std::count_if(retired_.begin(), retired_.end(),
                                      [&](const auto& module) { return module->name() == name; });
  if (static_cast<size_t>(draining) >= limits::kDrainingGenerationsMax) {
    return Status::error(std::to_string(draining) +
                         " older generations still wait for requests that do not end");
  }
  Status opened = private_folder_.open();
  if (!opened.is_ok()) return opened;
  const Known& known = *step.known;
  const ModuleConfig no_config;
  const auto config = options_.configs.find(name);
  LoadRequest request;
  request.name = name;
  request.path = step.found->path;
  request.generation = known.last_generation + 1;
  request.config = config == options_.configs.end() ? &no_config : &config->second;
  request.private_path =
      private_folder_.path() + "/" + name + ".g" + std::to_string(request.generation);
  if (known.failed_loads != 0) request.private_path += "." + std::to_string(known.failed_loads);
  request.private_path += step.found->loader->suffix();
  Result<LoadedModule> loaded = load_safely(*step.found->loader, request);
  if (!loaded.is_ok()) return loaded.status();
  return adopt(step, loaded.take());
}

// Makes a Module of it, if its routes are in order among themselves.
Status ModuleRegistry::adopt(Step& step, LoadedModule loaded) {
  auto module =
      std::make_unique<Module>(step.outcome.name, step.known->last_generation + 1, options_.loops);
  module->version_ = std::move(loaded.version);
  module->routes_ = std::move(loaded.routes);
  module->image_ = std::move(loaded.image);
  PrefixIndex own;
  Status status = Status::ok();
  for (const auto& route : module->routes_) {
    route->module = module.get();
    status = check_prefix(route->prefix, route->framing);
    if (status.is_ok() && own.find_conflict(route->prefix, route->framing) != nullptr) {
      status = Status::error("prefix '" + route->prefix + "' is registered twice by this module");
    }
    if (!status.is_ok()) break;
    own.add(*route);
  }
  if (status.is_ok()) {
    step.candidate = std::move(module);
  } else {
    discard(*module);
  }
  return status;
}

// Every fall-back to an old generation can bring new conflicts, so it begins again after each.
void ModuleRegistry::settle_conflicts(std::vector<Step>& steps) {
  while (demote_one(steps)) continue;
}

// The first candidate, by name, that wants a prefix which a module that stays, or a candidate
// before it, has: it falls back to its old generation or to none. False: there is no such
// candidate.
bool ModuleRegistry::demote_one(std::vector<Step>& steps) {
  std::set<const Known*> changing;
  for (const Step& step : steps) {
    if (step.is_load() || step.outcome.change == Change::kRemoved) changing.insert(step.known);
  }
  PrefixIndex holders;
  for (const auto& [name, known] : known_) {
    if (known.module != nullptr && !changing.contains(&known)) add_routes(holders, *known.module);
  }
  for (Step& step : steps) {
    if (!step.is_load()) continue;
    const Conflict conflict = find_conflict(holders, *step.candidate);
    if (conflict.wanted == nullptr) {
      add_routes(holders, *step.candidate);
      continue;
    }
    step.fail("prefix '" + conflict.wanted->prefix + "' of module " + step.outcome.name +
              " is already registered by module " + shown(*conflict.holder->module));
    ++step.known->failed_loads;
    discard(*step.candidate);
    step.candidate.reset();
    return true;
  }
  return false;
}

std::shared_ptr<const RouteTable> ModuleRegistry::build_table(
    const std::vector<const Module*>& reloading) const {
  std::vector<RouteTable::Entry> entries;
  for (const auto& [name, known] : known_) {
    if (known.module == nullptr) continue;
    const bool is_reloading =
        std::find(reloading.begin(), reloading.end(), known.module.get()) != reloading.end();
    for (const auto& route : known.module->routes()) entries.push_back({route.get(), is_reloading});
  }
  return RouteTable::build(std::move(entries));
}

void ModuleRegistry::commit(std::vector<Step>& steps, bool is_marked) {
  bool has_changed = is_marked || !has_published_;
  std::vector<Module*> retired;
  for (Step& step : steps) {
    if (step.known == nullptr) continue;
    Known& known = *step.known;
    if (step.outcome.change == Change::kFailed) known.must_retry = true;
    if (step.is_load() || step.outcome.change == Change::kRemoved) {
      has_changed = true;
      if (known.module != nullptr) {
        retired.push_back(known.module.get());
        retired_.push_back(std::move(known.module));
      }
    }
    if (step.is_load()) {
      known.module = std::move(step.candidate);
      known.source = *step.found;
      known.must_retry = false;
      known.last_generation = known.module->generation();
      known.failed_loads = 0;
    }
    if (known.module != nullptr) step.outcome.generation = known.module->generation();
  }
  if (!has_changed) return;
  has_published_ = true;
  publisher_.publish(build_table({}), retired);
}

void ModuleRegistry::unload(Module& module) {
  module.image_->unload();
  const Status closed = module.image_->close();
  if (closed.is_ok()) {
    log_.info("reload", "unloaded " + shown(module));
  } else {
    log_.warn("reload", "unloaded " + shown(module) + ", but it is " + closed.message());
  }
}

// A generation that never served.
void ModuleRegistry::discard(Module& candidate) {
  candidate.image_->unload();
  const Status closed = candidate.image_->close();
  if (!closed.is_ok()) {
    log_.warn("reload", "refused " + shown(candidate) + ", and it is " + closed.message());
  }
}

void ModuleRegistry::unload_drained(Module* module) {
  const auto found = std::find_if(retired_.begin(), retired_.end(),
                                  [&](const auto& each) { return each.get() == module; });
  HRMR_CHECK(found != retired_.end());
  const std::unique_ptr<Module> gone = std::move(*found);
  retired_.erase(found);
  unload(*gone);
}

std::vector<std::string> ModuleRegistry::still_draining() const {
  std::vector<std::string> names;
  for (const auto& module : retired_) names.push_back(shown(*module));
  return names;
}

std::vector<ModuleInfo> ModuleRegistry::loaded() const {
  std::vector<ModuleInfo> modules;
  for (const auto& [name, known] : known_) {
    if (known.module == nullptr) continue;
    modules.push_back(
        {name, known.module->version(), known.module->generation(), known.module->routes().size()});
  }
  return modules;
}

void ModuleRegistry::unload_all() {
  for (const auto& module : retired_) unload(*module);
  retired_.clear();
  for (auto& [name, known] : known_) {
    if (known.module == nullptr) continue;
    unload(*known.module);
    known.module.reset();
  }
}

}  // namespace hrmr::modules
