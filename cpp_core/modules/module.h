// Module: one generation of one module: its routes, the image that holds its code, and the pins
// that keep it alive.
//
// Lifetime: made by a load, published in a RouteTable, retired when a newer generation or none
// takes its place; unloaded on the reload thread once every loop has let go of it. A Route lives as
// long as its Module.
//
// Pins are plain counters, one per loop, each touched by its own loop only: a request that leaves
// the loop (to a pool) pins its module there and unpins it there when it is back. Inline requests
// need no pin, because the table changes only between them.
//
// Threads: pin, unpin, retire_on: on the loop named by the index. The rest: the reload thread.
#pragma once

#include <hrmr/abi.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.h"
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

// HRMR_FRAMING_AUTO, decided: http if the prefix begins with an HTTP method followed by its end, a
// space or '/', or looks like `TOKEN /`; else line.
RouteFraming framing_of_prefix(std::string_view prefix);

// Whether a module may register that prefix: its length, and that it is not a word of HRMR itself.
Status check_prefix(std::string_view prefix, RouteFraming framing);

// What holds a generation's code: a dlopen handle, or Python objects.
class Image {
 public:
  virtual ~Image() = default;
  // Runs the module's own unload. Once; no request is inside the module any more.
  virtual void unload() = 0;
  // Lets the code go and verifies that it is gone. An error names what is left ("still mapped:
  // ..."); the image then keeps what must be kept for the life of the process.
  virtual Status close() = 0;
};

class Module {
 public:
  Module(std::string name, uint64_t generation, unsigned loops);

  const std::string& name() const { return name_; }
  uint64_t generation() const { return generation_; }
  const std::string& version() const { return version_; }
  const std::vector<std::unique_ptr<Route>>& routes() const { return routes_; }

  void pin(unsigned loop) { ++slots_[loop].pins; }
  // True: this was the last pin on the last loop of a retired module; tell ModuleRegistry::drained.
  bool unpin(unsigned loop) {
    return --slots_[loop].pins == 0 && slots_[loop].is_retired && last_loop_is_done();
  }
  // The loop sees the new table from now on. True as for unpin.
  bool retire_on(unsigned loop) {
    slots_[loop].is_retired = true;
    return slots_[loop].pins == 0 && last_loop_is_done();
  }

 private:
  friend class ModuleRegistry;
  struct alignas(64) Slot {
    uint32_t pins = 0;
    bool is_retired = false;
  };
  bool last_loop_is_done() { return loops_holding_.fetch_sub(1, std::memory_order_acq_rel) == 1; }

  std::string name_;
  std::string version_;
  uint64_t generation_;
  std::vector<std::unique_ptr<Route>> routes_;
  std::unique_ptr<Image> image_;
  std::unique_ptr<Slot[]> slots_;
  std::atomic<unsigned> loops_holding_;
};

}  // namespace hrmr::modules
