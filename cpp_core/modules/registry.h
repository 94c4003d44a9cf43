// ModuleRegistry: which modules are loaded, and the transaction that changes that (DESIGN section
// 5).
//
// reload(): scan, open what is new or changed, load it, settle prefix conflicts, publish one table,
// retire what was replaced or is gone, wait a bounded time until that has left the process. Each
// module's change succeeds whole or its old generation serves on.
//
// What clients need not wait for goes first, all in one table. Then comes each module whose
// requests are held or rejected meanwhile, one after the other: it is brought to rest, saved,
// loaded and published, and no other module's clients wait for that.
//
// Generations of one module count from 1 and are never reused, also not after a removal. A load
// that fails uses none up, but its private path is not used again.
//
// Threads: the reload thread. See reload_thread.h for who calls.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/call_site.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/status.h"
#include "modules/loader.h"
#include "modules/module.h"
#include "modules/private_folder.h"
#include "modules/route_table.h"
#include "modules/scan.h"

namespace hrmr::modules {

// What clients of a module see while it is reloaded. kAuto: kHold for modules that hand their state
// over, kSwap for the others.
enum class ReloadPolicy : uint8_t { kAuto, kSwap, kHold, kReject };

enum class Change : uint8_t { kLoaded, kReloaded, kUnchanged, kRemoved, kFailed };

struct Outcome {
  std::string name;
  Change change = Change::kUnchanged;
  uint64_t generation = 0;      // that serves now; 0: none
  uint64_t old_generation = 0;  // that served before; 0: none
  std::string message;          // kFailed: why. Others: empty
  std::string note;             // what else should be known, such as what keeps the old generation
  double ms = 0;                // spent on this module: looking at it, loading it
};

struct ReloadReport {
  std::vector<Outcome> outcomes;  // by name
  double ms = 0;
  size_t kept_images = 0;  // old generations that could not be unloaded, of all reloads so far
  bool has_failures() const;
};

// "reloaded http generation 1 -> 2 in 2.0 ms", "failed x: why (generation 3 serves on) (0.4 ms)";
// without a line feed anywhere in it.
std::string to_text(const Outcome& outcome);
// One such line per outcome, then one that begins with OK or ERR and has the sums; each line ends
// in '\n'. What RELOAD answers in plain text.
std::string to_text(const ReloadReport& report);

// A module that serves now.
struct ModuleInfo {
  std::string name;
  std::string version;
  uint64_t generation = 0;
  size_t routes = 0;
};

// What changes for the loops at once.
struct Publication {
  std::shared_ptr<const RouteTable> table;
  std::vector<Module*> started;  // serve from now on: their timers begin
  std::vector<Module*> resting;  // Module::rest_on: their timers pause
  std::vector<Module*> resumed;  // Module::resume_on: their timers go on
  std::vector<Module*> retired;  // Module::retire_on: their timers stop
};

// What is inside a module.
struct InUse {
  size_t requests = 0;  // the deferred ones included
  size_t deferred = 0;
  size_t timers = 0;
};

// A call into a module's load (its static constructors and a Python file's top level are part of
// it), save_state or unload.
struct ModuleCall {
  std::string_view module;
  uint64_t generation;
  const char* function;  // "load", "save_state", "unload"
};

// What the registry asks of the loops. On the reload thread.
class Publisher {
 public:
  // Returns when every loop goes by it.
  virtual void publish(const Publication& change) = 0;
  // Waits until a resting or retired module has drained. False: not by then (monotonic).
  virtual bool wait_drained(Module& module, uint64_t deadline_ms) = 0;
  // It was published as resumed: what a loop said of it before that counts no more.
  virtual void forget_drained(Module& module) = 0;
  virtual InUse count_use(Module& module) = 0;
  // One at a time. What begins may never end.
  virtual void call_begins(const ModuleCall&) {}
  virtual void call_ends() {}

 protected:
  ~Publisher() = default;
};

struct RegistryOptions {
  std::vector<std::string> places;  // folders and single files; on equal names the later one wins
  std::map<std::string, ModuleConfig, std::less<>> configs;
  ReloadPolicy policy = ReloadPolicy::kAuto;
  std::map<std::string, ReloadPolicy, std::less<>> policies;  // per module
  // How long a held request waits, and how long a reload waits until a module is at rest.
  uint64_t hold_timeout_ms = limits::kHoldTimeoutMs;
  std::map<std::string, uint64_t, std::less<>> hold_timeouts_ms;  // per module
  // How long a reload waits for what it has replaced to be unloaded before it answers.
  uint64_t retire_timeout_ms = limits::kRetireTimeoutMs;
  unsigned loops = 1;
};

class ModuleRegistry {
 public:
  // Loaders, publisher and log outlive the registry. The first of several loaders of one suffix is
  // used.
  ModuleRegistry(RegistryOptions options, std::vector<Loader*> loaders, Publisher& publisher,
                 Log& log);
  ~ModuleRegistry();  // unload_all has been called

  // `only`: names of modules; empty: all. A name that neither is loaded nor has a file is an
  // outcome kFailed.
  ReloadReport reload(const std::vector<std::string>& only = {});
  // A module without a file: loaded by `loader` at the next reload, and again whenever `revision`
  // has changed. It wins over a file of that name.
  void set_inline_module(const std::string& name, Loader& loader, uint64_t revision);

  // Unloads what has drained: all loops have let go of it (Module::unpin), and its timers have
  // ended. The reload thread hands it over.
  void unload_drained(Module* module);
  // Retired generations that are not gone yet: "http generation 3".
  std::vector<std::string> still_draining() const;
  // What serves now, by name.
  std::vector<ModuleInfo> loaded() const;
  // At shutdown, after loops and pools have ended: unloads everything, drained or not.
  void unload_all();

 private:
  // What is remembered of one name, also when nothing of that name is loaded any more.
  struct Known {
    std::unique_ptr<Module> module;  // that serves now; null: none
    FoundModule source;              // what it was made from
    bool must_retry = false;         // the last attempt failed
    uint64_t last_generation = 0;
    uint64_t failed_loads = 0;  // since that generation
  };
  // One module's part in one reload.
  struct Step;
  // Stands around every call into a module.
  class Call {
   public:
    Call(Publisher& publisher, const ModuleCall& call)
        : publisher_(publisher), scope_({call.module, call.generation, call.function}) {
      publisher_.call_begins(call);
    }
    ~Call() { publisher_.call_ends(); }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Publisher& publisher_;
    CallScope scope_;
  };

  using Marks = std::map<const Module*, RouteMark>;
  using Group = std::vector<Step*>;

  ScanResult scan();
  std::vector<Step> plan(ScanResult& found, const std::vector<std::string>& only);
  void decide(Step& step, const ScanResult& found);
  static bool is_unchanged(Known& known, const FoundModule& found);
  ReloadPolicy policy_of(const Step& step) const;
  uint64_t hold_timeout_ms_of(const std::string& name) const;
  void mark_rejecting(std::vector<Step>& steps, Marks& marks);
  void open(Step& step);
  Status open_candidate(Step& step);
  bool is_serving(const Module& module) const;
  void change_all(std::vector<Step>& steps, Marks& marks);
  void transact(const Group& group, Marks& marks);
  void bring_to_rest(Step& step, Marks& marks);
  void await_rest(Step& step);
  void load(Step& step);
  Status load_candidate(Step& step);
  Status adopt(Step& step, Registrations registrations);
  void settle_conflicts(const Group& group);
  bool demote_one(const Group& group);
  std::shared_ptr<const RouteTable> build_table(const Marks& marks) const;
  void commit(const Group& group, Marks& marks);
  void replace(Step& step, Publication& change);
  void await_retired(std::vector<Step>& steps);
  std::string use_of(Module& module);
  std::unique_ptr<Module> take_retired(Module* module);
  void unload(Module& module);
  Status close(Module& module);  // one that is unloaded
  void discard(Step& step);
  size_t kept_images() const;

  RegistryOptions options_;
  Publisher& publisher_;
  Log& log_;
  PrivateFolder private_folder_;
  std::vector<Loader*> loaders_;
  PlaceScanner scanner_;
  FoundModules inline_modules_;
  std::map<std::string, Known, std::less<>> known_;
  std::vector<std::unique_ptr<Module>> retired_;
  bool has_published_ = false;
};

}  // namespace hrmr::modules
