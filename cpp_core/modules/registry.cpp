#include "modules/registry.h"

#include <algorithm>
#include <exception>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "base/limits.h"
#include "modules/conflict.h"
#include "modules/file_quiet.h"

namespace hrmr::modules {

namespace {

constexpr size_t kNoPlace = SIZE_MAX;  // where modules without a file are: behind all places

double ms_since(uint64_t started_us) {
  return static_cast<double>(monotonic_us() - started_us) / 1000.0;
}

std::string shown(const Module& module) {
  return module.name() + " generation " + std::to_string(module.generation());
}

std::string counted(size_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// A loader is asked to return errors; one that throws must not end the reload thread.
template <class Value, class Call>
Result<Value> safely(const Call& call) {
  try {
    return call();
  } catch (const std::exception& error) {
    return Status::error(std::string("the loader failed: ") + error.what());
  }
}

}  // namespace

// `outcome.change` is what shall happen, and in the end what did.
struct ModuleRegistry::Step {
  Outcome outcome;
  Known* known = nullptr;              // null: a name that nobody knows
  FoundModule* found = nullptr;        // null: there is no file
  std::unique_ptr<Image> image;        // opened, not loaded
  std::unique_ptr<Module> candidate;   // loaded
  Change wanted = Change::kUnchanged;  // what the plan said
  const Module* rival = nullptr;       // it failed for a prefix that this one has
  bool is_done = false;                // published
  Module* resting = nullptr;           // the old generation, while it is held at rest
  Module* retired = nullptr;           // the old generation, once it is replaced or removed

  bool is_load() const {
    return outcome.change == Change::kLoaded || outcome.change == Change::kReloaded;
  }
  Module* old_module() const { return known == nullptr ? nullptr : known->module.get(); }
  bool takes_state_over() const {
    return outcome.change == Change::kReloaded && old_module()->image_->saves_state();
  }
  void try_again() {
    outcome.change = wanted;
    outcome.message.clear();
    outcome.note.clear();
    rival = nullptr;
    is_done = false;
    resting = nullptr;
  }
  void fail(std::string why) {
    outcome.change = Change::kFailed;
    outcome.message = std::move(why);
  }
  void add_note(const std::string& note) {
    if (note.empty()) return;
    outcome.note += (outcome.note.empty() ? "" : "; ") + note;
  }
};

ModuleRegistry::ModuleRegistry(RegistryOptions options, std::vector<Loader*> loaders,
                               Publisher& publisher, Log& log)
    : options_(std::move(options)),
      publisher_(publisher),
      log_(log),
      loaders_(loaders),
      scanner_(options_.places, std::move(loaders), log) {}

ModuleRegistry::~ModuleRegistry() {
  HRMR_CHECK(retired_.empty());
  HRMR_CHECK(loaded().empty());
}

ReloadReport ModuleRegistry::reload(const std::vector<std::string>& only) {
  const uint64_t started_us = monotonic_us();
  ScanResult found = scan();
  std::vector<Step> steps = plan(found, only);
  Marks marks;
  mark_rejecting(steps, marks);
  for (Step& step : steps) {
    if (step.is_load()) open(step);
  }
  change_all(steps, marks);
  // A prefix that somebody wanted may be free by now.
  bool is_again = false;
  for (Step& step : steps) {
    if (step.rival == nullptr || is_serving(*step.rival)) continue;
    step.try_again();
    open(step);
    is_again = true;
  }
  if (is_again) change_all(steps, marks);
  await_retired(steps);
  ReloadReport report;
  for (Step& step : steps) report.outcomes.push_back(std::move(step.outcome));
  report.ms = ms_since(started_us);
  report.kept_images = kept_images();
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

std::vector<ModuleRegistry::Step> ModuleRegistry::plan(ScanResult& found,
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
    step.wanted = step.outcome.change;
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

ReloadPolicy ModuleRegistry::policy_of(const Step& step) const {
  const auto own = options_.policies.find(step.outcome.name);
  const ReloadPolicy policy = own == options_.policies.end() ? options_.policy : own->second;
  if (policy != ReloadPolicy::kAuto) return policy;
  return step.takes_state_over() ? ReloadPolicy::kHold : ReloadPolicy::kSwap;
}

uint64_t ModuleRegistry::hold_timeout_ms_of(const std::string& name) const {
  const auto own = options_.hold_timeouts_ms.find(name);
  return own == options_.hold_timeouts_ms.end() ? options_.hold_timeout_ms : own->second;
}

// Policy `reject`: what is about to be reloaded answers 503 until it is decided.
void ModuleRegistry::mark_rejecting(std::vector<Step>& steps, Marks& marks) {
  for (const Step& step : steps) {
    if (step.outcome.change != Change::kReloaded) continue;
    if (policy_of(step) == ReloadPolicy::kReject) marks[step.old_module()] = RouteMark::kReject;
  }
  if (marks.empty()) return;
  Publication change;
  change.table = build_table(marks);
  publisher_.publish(change);
}

// A file that does not load may have been read half-written, and so may one that has changed since
// the scan. It is tried again once it is quiet.
void ModuleRegistry::open(Step& step) {
  const uint64_t started_us = monotonic_us();
  FileQuiet quiet(step.found->path, step.found->loader->suffix(), step.found->stamp);
  Status status = open_candidate(step);
  while (quiet.is_worth_another_try(status.is_ok())) {
    step.found->stamp = quiet.stamp();
    step.found->is_settled = false;
    discard(step);
    ++step.known->failed_loads;
    status = open_candidate(step);
  }
  if (!status.is_ok()) {
    ++step.known->failed_loads;
    step.fail(status.message());
  }
  step.outcome.ms += ms_since(started_us);
}

Status ModuleRegistry::open_candidate(Step& step) {
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
  OpenRequest request;
  request.name = name;
  request.path = step.found->path;
  request.generation = known.last_generation + 1;
  // base/mapped_code.cpp takes this apart when the module crashes.
  request.private_path =
      private_folder_.path() + "/" + name + ".g" + std::to_string(request.generation);
  if (known.failed_loads != 0) request.private_path += "." + std::to_string(known.failed_loads);
  request.private_path += step.found->loader->suffix();
  const Call call(publisher_, {name, request.generation, "load"});
  Result<std::unique_ptr<Image>> image =
      safely<std::unique_ptr<Image>>([&] { return step.found->loader->open(request); });
  if (!image.is_ok()) return image.status();
  step.image = image.take();
  return Status::ok();
}

bool ModuleRegistry::is_serving(const Module& module) const {
  const auto known = known_.find(module.name());
  return known != known_.end() && known->second.module.get() == &module;
}

// Those that nobody waits for first, and together: modules may give each other their prefixes.
void ModuleRegistry::change_all(std::vector<Step>& steps, Marks& marks) {
  Group together;
  Group apart;
  for (Step& step : steps) {
    if (step.is_done || step.known == nullptr) continue;
    const bool is_apart =
        step.outcome.change == Change::kReloaded && policy_of(step) != ReloadPolicy::kSwap;
    (is_apart ? apart : together).push_back(&step);
  }
  transact(together, marks);
  for (Step* step : apart) transact({step}, marks);
}

void ModuleRegistry::transact(const Group& group, Marks& marks) {
  for (Step* step : group) {
    if (step->outcome.change == Change::kReloaded) bring_to_rest(*step, marks);
    if (step->is_load()) load(*step);
  }
  settle_conflicts(group);
  commit(group, marks);
}

// From here on no request of a module that hands its state over begins, and when this returns none
// is under way: what is saved then is what the last answer told. A module under `hold` without a
// state needs no rest, only its requests wait.
void ModuleRegistry::bring_to_rest(Step& step, Marks& marks) {
  const ReloadPolicy policy = policy_of(step);
  if (policy == ReloadPolicy::kSwap) return;
  if (policy == ReloadPolicy::kHold) marks[step.old_module()] = RouteMark::kHold;
  Publication change;
  if (step.takes_state_over()) {
    step.resting = step.old_module();
    step.resting->arm(options_.loops);
    change.resting.push_back(step.resting);
  }
  if (policy == ReloadPolicy::kReject && step.resting == nullptr) return;  // marked before
  change.table = build_table(marks);
  publisher_.publish(change);
  if (step.resting != nullptr) await_rest(step);
}

void ModuleRegistry::await_rest(Step& step) {
  const uint64_t started_us = monotonic_us();
  const uint64_t timeout_ms = step.resting->hold_timeout_ms();
  if (!publisher_.wait_drained(*step.resting, monotonic_ms() + timeout_ms)) {
    step.fail("its state cannot be handed over: after " + std::to_string(timeout_ms) +
              " ms (hold_timeout) generation " + std::to_string(step.resting->generation()) +
              " is still in use by " + use_of(*step.resting));
    ++step.known->failed_loads;
    discard(step);
  }
  step.outcome.ms += ms_since(started_us);
}

void ModuleRegistry::load(Step& step) {
  const uint64_t started_us = monotonic_us();
  Status status = load_candidate(step);
  if (!status.is_ok()) {
    ++step.known->failed_loads;
    step.fail(status.message());
    discard(step);
  }
  step.outcome.ms += ms_since(started_us);
}

Status ModuleRegistry::load_candidate(Step& step) {
  const ModuleConfig no_config;
  const auto config = options_.configs.find(step.outcome.name);
  LoadArguments arguments;
  arguments.config = config == options_.configs.end() ? &no_config : &config->second;
  SavedState saved;
  if (step.takes_state_over()) {
    const Call call(publisher_, {step.outcome.name, step.old_module()->generation(), "save_state"});
    Result<SavedState> result =
        safely<SavedState>([&] { return step.old_module()->image_->save_state(); });
    if (!result.is_ok()) return result.status();
    saved = result.take();
    arguments.previous = &saved;
  }
  const Call call(publisher_, {step.outcome.name, step.known->last_generation + 1, "load"});
  Result<Registrations> loaded = safely<Registrations>([&] { return step.image->load(arguments); });
  if (!loaded.is_ok()) return loaded.status();
  return adopt(step, loaded.take());
}

// Makes a Module of it, if its routes are in order among themselves.
Status ModuleRegistry::adopt(Step& step, Registrations registrations) {
  auto module =
      std::make_unique<Module>(step.outcome.name, step.known->last_generation + 1, options_.loops);
  module->version_ = std::move(registrations.version);
  module->routes_ = std::move(registrations.routes);
  module->timers_ = std::move(registrations.timers);
  module->image_ = std::move(step.image);
  step.add_note(module->image_->warning());
  module->hold_timeout_ms_ = hold_timeout_ms_of(step.outcome.name);
  step.candidate = std::move(module);
  for (const auto& timer : step.candidate->timers_) timer->module = step.candidate.get();
  PrefixIndex own;
  for (const auto& route : step.candidate->routes_) {
    route->module = step.candidate.get();
    Status status = check_prefix(route->prefix, route->framing);
    if (status.is_ok() && own.find_conflict(route->prefix, route->framing) != nullptr) {
      status = Status::error(shown(*route) + " is registered twice by this module");
    }
    if (!status.is_ok()) return status;
    own.add(*route);
  }
  return Status::ok();
}

// Every fall-back to an old generation can bring new conflicts, so it begins again after each.
void ModuleRegistry::settle_conflicts(const Group& group) {
  while (demote_one(group)) continue;
}

// The first candidate, by name, that wants a prefix which a module that stays, or a candidate
// before it, has: it falls back to its old generation or to none. False: there is no such
// candidate.
bool ModuleRegistry::demote_one(const Group& group) {
  std::set<const Known*> changing;
  for (const Step* step : group) {
    if (step->is_load() || step->outcome.change == Change::kRemoved) changing.insert(step->known);
  }
  PrefixIndex holders;
  for (const auto& [name, known] : known_) {
    if (known.module != nullptr && !changing.contains(&known)) add_routes(holders, *known.module);
  }
  for (Step* each : group) {
    Step& step = *each;
    if (!step.is_load()) continue;
    const Conflict conflict = find_conflict(holders, *step.candidate);
    if (conflict.wanted == nullptr) {
      add_routes(holders, *step.candidate);
      continue;
    }
    step.rival = conflict.holder->module;
    step.fail(shown(*conflict.wanted) + " of module " + step.outcome.name +
              " is already registered by module " + shown(*conflict.holder->module));
    ++step.known->failed_loads;
    discard(step);
    return true;
  }
  return false;
}

std::shared_ptr<const RouteTable> ModuleRegistry::build_table(const Marks& marks) const {
  std::vector<RouteTable::Entry> entries;
  for (const auto& [name, known] : known_) {
    if (known.module == nullptr) continue;
    const auto marked = marks.find(known.module.get());
    const RouteMark mark = marked == marks.end() ? RouteMark::kNone : marked->second;
    for (const auto& route : known.module->routes()) entries.push_back({route.get(), mark});
  }
  return RouteTable::build(std::move(entries));
}

void ModuleRegistry::commit(const Group& group, Marks& marks) {
  Publication change;
  bool has_changed = !has_published_;
  for (Step* each : group) {
    Step& step = *each;
    if (marks.erase(step.old_module()) != 0) has_changed = true;
    if (step.outcome.change == Change::kFailed) step.known->must_retry = true;
    if (step.is_load() || step.outcome.change == Change::kRemoved) {
      replace(step, change);
      has_changed = true;
    } else if (step.resting != nullptr) {
      change.resumed.push_back(step.resting);
    }
    step.is_done = true;
    if (step.known->module != nullptr) {
      step.outcome.generation = step.known->module->generation();
    }
  }
  if (!has_changed) return;
  has_published_ = true;
  change.table = build_table(marks);
  publisher_.publish(change);
  for (Module* module : change.resumed) publisher_.forget_drained(*module);
}

// The old generation, if there is one, goes; the candidate, if there is one, takes its place.
void ModuleRegistry::replace(Step& step, Publication& change) {
  Known& known = *step.known;
  if (known.module != nullptr) {
    step.retired = known.module.get();
    step.retired->arm(options_.loops);
    change.retired.push_back(step.retired);
    retired_.push_back(std::move(known.module));
  }
  if (!step.is_load()) return;
  known.module = std::move(step.candidate);
  known.source = *step.found;
  known.must_retry = false;
  known.last_generation = known.module->generation();
  known.failed_loads = 0;
  change.started.push_back(known.module.get());
}

// So that the answer can say what became of the old code. What takes longer is unloaded later, and
// only the log tells then. All are released before the first is closed: see Image::release.
void ModuleRegistry::await_retired(std::vector<Step>& steps) {
  const uint64_t deadline_ms = monotonic_ms() + options_.retire_timeout_ms;
  const auto shown_old = [](const Step& step) {
    return "generation " + std::to_string(step.retired->generation());
  };
  std::vector<std::pair<Step*, std::unique_ptr<Module>>> gone;
  for (Step& step : steps) {
    if (step.retired == nullptr) continue;
    if (!publisher_.wait_drained(*step.retired, deadline_ms)) {
      step.add_note(shown_old(step) + " is still in use by " + use_of(*step.retired));
      continue;
    }
    gone.emplace_back(&step, take_retired(step.retired));
    unload(*gone.back().second);
  }
  for (const auto& [step, module] : gone) {
    const Status closed = close(*module);
    if (!closed.is_ok()) step->add_note(shown_old(*step) + " is " + closed.message());
  }
}

// "2 requests, 1 of them deferred", "1 timer", "1 request and 1 timer".
std::string ModuleRegistry::use_of(Module& module) {
  const InUse use = publisher_.count_use(module);
  std::string timers;
  if (use.timers != 0) timers = counted(use.timers, "timer");
  if (use.requests == 0 && use.timers != 0) return timers;
  const bool are_deferred = use.deferred != 0 && use.deferred == use.requests;
  std::string text = counted(use.requests, are_deferred ? "deferred request" : "request");
  if (use.deferred != 0 && !are_deferred)
    text += ", " + std::to_string(use.deferred) + " of them deferred";
  return timers.empty() ? text : text + " and " + timers;
}

void ModuleRegistry::unload(Module& module) {
  const Call call(publisher_, {module.name(), module.generation(), "unload"});
  module.image_->unload();
  module.image_->release();
}

Status ModuleRegistry::close(Module& module) {
  const Call call(publisher_, {module.name(), module.generation(), "unload"});
  Status closed = module.image_->close();
  if (closed.is_ok()) {
    log_.info("reload", "unloaded " + shown(module));
  } else {
    log_.warn("reload", "unloaded " + shown(module) + ", but it is " + closed.message());
  }
  return closed;
}

// Of a step that failed: what was opened for it, and has never served.
void ModuleRegistry::discard(Step& step) {
  const Call call(publisher_, {step.outcome.name, step.known->last_generation + 1, "unload"});
  std::unique_ptr<Image> image = std::move(step.image);
  if (step.candidate != nullptr) {
    image = std::move(step.candidate->image_);
    step.candidate.reset();
    image->unload();
  }
  if (image == nullptr) return;
  const Status closed = image->close();
  if (closed.is_ok()) return;
  step.add_note("the refused file is " + closed.message());
  log_.warn("reload", "refused " + step.outcome.name + ", and it is " + closed.message());
}

size_t ModuleRegistry::kept_images() const {
  size_t kept = 0;
  for (const Loader* loader : loaders_) kept += loader->kept_images();
  return kept;
}

std::unique_ptr<Module> ModuleRegistry::take_retired(Module* module) {
  const auto found = std::find_if(retired_.begin(), retired_.end(),
                                  [&](const auto& each) { return each.get() == module; });
  HRMR_CHECK(found != retired_.end());
  std::unique_ptr<Module> taken = std::move(*found);
  retired_.erase(found);
  return taken;
}

void ModuleRegistry::unload_drained(Module* module) {
  const std::unique_ptr<Module> gone = take_retired(module);
  unload(*gone);
  static_cast<void>(close(*gone).is_ok());
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
  std::vector<std::unique_ptr<Module>> gone = std::move(retired_);
  retired_.clear();
  for (auto& [name, known] : known_) {
    if (known.module != nullptr) gone.push_back(std::move(known.module));
  }
  for (const auto& module : gone) unload(*module);
  for (const auto& module : gone) static_cast<void>(close(*module).is_ok());
}

}  // namespace hrmr::modules
