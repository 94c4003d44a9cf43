#include "modules/module.h"

#include <utility>

#include "base/check.h"

namespace hrmr::modules {

Module::Module(std::string name, uint64_t generation, unsigned loops)
    : name_(std::move(name)),
      generation_(generation),
      slots_(std::make_unique<Slot[]>(loops)),
      loops_holding_(loops) {
  HRMR_CHECK(loops > 0);
}

}  // namespace hrmr::modules
