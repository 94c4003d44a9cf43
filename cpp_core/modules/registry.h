// ModuleRegistry: which modules are loaded, and the transaction that changes that (DESIGN section
// 5).
//
// reload(): scan, stage and load what is new or changed, settle prefix conflicts, publish one
// table, retire what was replaced or is gone. Each module's change succeeds whole or its old
// generation serves on.
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
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "modules/loader.h"
#include "modules/module.h"
#include "modules/private_folder.h"
#include "modules/route_table.h"
#include "modules/scan.h"

namespace hrmr::modules {

enum class ReloadPolicy : uint8_t { kSwap, kReject };

enum class Change : uint8_t { kLoaded, kReloaded, kUnchanged, kRemoved, kFailed };

struct Outcome {
  std::string name;
  Change change = Change::kUnchanged;
  uint64_t generation = 0;      // that serves now; 0: none
  uint64_t old_generation = 0;  // that served before; 0: none
  std::string message;          // kFailed: why. Others: empty
  double ms = 0;                // spent on this module: looking at it, loading it
};

struct ReloadReport {
  std::vector<Outcome> outcomes;  // by name
  double ms = 0;
  bool has_failures() const;
};

// "reloaded http generation 1 -> 2 in 2.0 ms", without a line feed anywhere in it.
std::string to_text(const Outcome& outcome);
// One such line per outcome, then one that begins with OK or ERR and has the sums; each line ends
// in
// '\n'. What RELOAD answers in plain text.
std::string to_text(const ReloadReport& report);

// A module that serves now.
struct ModuleInfo {
  std::string name;
  std::string version;
  uint64_t generation = 0;
  size_t routes = 0;
};

// Hands a table to every loop and returns when all of them use it and have been told of `retired`
// (Module::retire_on).
class Publisher {
 public:
  virtual void publish(std::shared_ptr<const RouteTable> table,
                       const std::vector<Module*>& retired) = 0;

 protected:
  ~Publisher() = default;
};

struct RegistryOptions {
  std::vector<std::string> places;  // folders and single files; on equal names the later one wins
  std::map<std::string, ModuleConfig, std::less<>> configs;
  ReloadPolicy policy = ReloadPolicy::kSwap;
  std::map<std::string, ReloadPolicy, std::less<>> policies;  // per module
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

  // Unloads what has drained. drained() is what a loop calls when Module::unpin or retire_on said
  // true; the module is then handed to unload_drained by the reload thread.
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

  ScanResult scan();
  std::vector<Step> plan(const ScanResult& found, const std::vector<std::string>& only);
  void decide(Step& step, const ScanResult& found);
  static bool is_unchanged(Known& known, const FoundModule& found);
  bool mark_reloading(const std::vector<Step>& steps);
  void load(Step& step);
  Status load_candidate(Step& step);
  Status adopt(Step& step, LoadedModule loaded);
  void settle_conflicts(std::vector<Step>& steps);
  bool demote_one(std::vector<Step>& steps);
  std::shared_ptr<const RouteTable> build_table(const std::vector<const Module*>& reloading) const;
  void commit(std::vector<Step>& steps, bool is_marked);
  void unload(Module& module);
  void discard(Module& candidate);

  RegistryOptions options_;
  Publisher& publisher_;
  Log& log_;
  PrivateFolder private_folder_;
  PlaceScanner scanner_;
  FoundModules inline_modules_;
  std::map<std::string, Known, std::less<>> known_;
  std::vector<std::unique_ptr<Module>> retired_;
  bool has_published_ = false;
};

}  // namespace hrmr::modules
