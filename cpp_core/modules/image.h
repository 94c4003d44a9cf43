// Image: what holds one generation's code, a dlopen handle or Python objects, and the calls into it
// that make up its life:
//
//     Loader::open -> load -> (it serves) -> save_state, when another generation takes over
//                                         -> unload -> release -> close
//
// A load that fails leaves nothing of the module running, and only close() follows, which releases
// by itself. A generation that loaded but is not wanted after all gets unload() and close().
//
// Threads: the reload thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "modules/route.h"

namespace hrmr::modules {

using ModuleConfig = std::map<std::string, std::string,
                              std::less<>>;  // flattened [modules.NAME]; see hrmr_host::config

// What a generation knows, for the one that replaces it.
struct SavedState {
  uint64_t schema = 0;  // the module's own number for the layout of `bytes`
  std::string bytes;
};

struct LoadArguments {
  const ModuleConfig* config = nullptr;
  const SavedState* previous = nullptr;  // null: there is none
};

struct Registrations {
  std::string version;
  std::vector<std::unique_ptr<Route>> routes;  // `module` is filled in by the registry, here and in
  std::vector<std::unique_ptr<PeriodicTimer>> timers;  // timers
};

class Image {
 public:
  virtual ~Image() = default;
  // Runs the module's load. Once.
  virtual Result<Registrations> load(const LoadArguments& arguments) = 0;
  // The module hands its state over. Asked of a generation that has loaded.
  virtual bool saves_state() const { return false; }
  // May be called again: the generation may have to serve on after all.
  virtual Result<SavedState> save_state() { return Status::error("it has no save_state"); }
  // Runs the module's own unload. Once; no request is inside the module any more.
  virtual void unload() = 0;
  // Lets the code go, where only close() can tell whether it went: of several generations that end
  // together each is released before the first is closed, and one search for what is left does for
  // all.
  virtual void release() {}
  // Lets the code go and verifies that it is gone. An error names what is left ("still mapped:
  // ..."); the image then keeps what must be kept for the life of the process.
  virtual Status close() = 0;
  // What whoever asked for the load should know besides that it went well; empty: nothing.
  virtual std::string warning() const { return {}; }
};

}  // namespace hrmr::modules
