// ModuleRegistry: which modules are loaded, and the transaction that changes that (DESIGN section
// 5).
//
// reload(): scan, stage and load what is new or changed, settle prefix conflicts, publish one
// table, retire what was replaced or is gone. Each module's change succeeds whole or its old
// generation serves on.
//
// Threads: the reload thread; drained() from any loop. See reload_thread.h for who calls.
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
#include "modules/route_table.h"

namespace hrmr::modules {

enum class ReloadPolicy : uint8_t { kSwap, kReject };

enum class Change : uint8_t { kLoaded, kReloaded, kUnchanged, kRemoved, kFailed };

struct Outcome {
  std::string name;
  Change change = Change::kUnchanged;
  uint64_t generation = 0;      // that serves now; 0: none
  uint64_t old_generation = 0;  // that served before; 0: none
  std::string message;          // kFailed: why. Others: empty
  double ms = 0;                // spent on this module
};

struct ReloadReport {
  std::vector<Outcome> outcomes;  // by name
  double ms = 0;
  bool has_failures() const;
};

// "loaded http 1.0 ..."-style lines, one per outcome and one with the sum; what RELOAD answers in
// plain text.
std::string to_text(const ReloadReport& report);

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
  ModuleRegistry(RegistryOptions options, std::vector<Loader*> loaders, Publisher& publisher,
                 Log& log);
  ~ModuleRegistry();  // unload_all has been called

  // `only`: names of modules; empty: all. A name that neither is loaded nor has a file is an
  // outcome kFailed.
  ReloadReport reload(const std::vector<std::string>& only = {});
  // A module without a file: loaded by `loader` at the next reload, and again whenever `revision`
  // has changed.
  void set_inline_module(const std::string& name, Loader& loader, uint64_t revision);

  // Unloads what has drained. drained() is what a loop calls when Module::unpin or retire_on said
  // true; the module is then handed to unload_drained by the reload thread.
  void unload_drained(Module* module);
  // Retired generations that are not gone yet: "http generation 3".
  std::vector<std::string> still_draining() const;
  // At shutdown, after loops and pools have ended: unloads everything, drained or not.
  void unload_all();
  // (the implementer completes this)
};

}  // namespace hrmr::modules
