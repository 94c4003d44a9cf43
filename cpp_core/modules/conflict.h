// Conflict: a route of one module that cannot be registered beside one of another's.
//
// Lifetime: the modules outlive it. Threads: a value; no sharing.
#pragma once

#include "modules/module.h"
#include "modules/prefix_index.h"

namespace hrmr::modules {

struct Conflict {
  const Route* wanted = nullptr;  // null: there is none
  const Route* holder = nullptr;
};

inline Conflict find_conflict(const PrefixIndex& holders, const Module& module) {
  for (const auto& route : module.routes()) {
    const Route* const holder = holders.find_conflict(route->prefix, route->framing);
    if (holder != nullptr) return {route.get(), holder};
  }
  return {};
}

inline void add_routes(PrefixIndex& holders, const Module& module) {
  for (const auto& route : module.routes()) holders.add(*route);
}

}  // namespace hrmr::modules
