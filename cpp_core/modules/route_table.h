// RouteTable: all published routes, immutable; the longest registered prefix of some bytes, in time
// that depends on the length of that prefix and not on the number of routes. No allocation on
// look-up.
//
// Lifetime: shared by the loops that still use it; its routes are kept alive by their modules,
// which are retired only after every loop has let go of the table. Threads: built on the reload
// thread, read by any.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "modules/module.h"

namespace hrmr::modules {

struct RouteMatch {
  const Route* route = nullptr;  // null: none
  bool is_reloading = false;     // policy `reject`: answer 503 instead of calling it
};

class RouteTable {
 public:
  struct Entry {
    const Route* route;
    bool is_reloading;
  };
  // Entries with distinct prefixes (checked); any number.
  static std::shared_ptr<const RouteTable> build(std::vector<Entry> entries);

  // The longest prefix of `bytes` among the routes of that framing.
  RouteMatch match(RouteFraming framing, std::string_view bytes) const;
  // There is a route of that framing at all (so that connections skip what nobody asked for).
  bool has(RouteFraming framing) const;
  size_t size() const;

 private:
  RouteTable() = default;
  // (the implementer completes this: one compressed trie in flat arrays per framing)
};

}  // namespace hrmr::modules
