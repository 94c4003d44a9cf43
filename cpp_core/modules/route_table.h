// RouteTable: all published routes, immutable; the longest registered prefix of some bytes, in time
// that depends on the length of that prefix and not on the number of routes. No allocation on
// look-up.
//
// Lifetime: shared by the loops that still use it; its routes are kept alive by their modules,
// which are retired only after every loop has let go of the table. Threads: built on the reload
// thread, read by any.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "modules/module.h"

namespace hrmr::modules {

// What is to be done with requests of a route whose module is being reloaded.
enum class RouteMark : uint8_t { kNone, kReject, kHold };

struct RouteMatch {
  const Route* route = nullptr;  // null: none
  RouteMark mark = RouteMark::kNone;
};

class RouteTable {
 public:
  struct Entry {
    const Route* route;
    RouteMark mark = RouteMark::kNone;
  };
  // Entries whose prefixes are distinct within each framing (checked); any number.
  static std::shared_ptr<const RouteTable> build(std::vector<Entry> entries);

  // The longest prefix of `bytes` among the routes of that framing.
  RouteMatch match(RouteFraming framing, std::string_view bytes) const;
  // The command of that name, in any case.
  RouteMatch match_command(std::string_view name) const;
  // All commands, by name.
  const std::vector<const Route*>& commands() const { return commands_; }
  // There is a route of that framing at all (so that connections skip what nobody asked for).
  bool has(RouteFraming framing) const;
  size_t size() const;

 private:
  // A path-compressed trie. The nodes are in breadth-first order, so that siblings are neighbours:
  // the first bytes of their labels form one run in `first_bytes_`, which one memchr searches.
  struct Node {
    uint32_t label = 0;        // what follows the label's first byte: where it is in `labels_`,
    uint32_t label_bytes = 0;  // and how long it is
    uint32_t first_child = 0;  // index of the first child; the others follow it
    uint16_t children = 0;     // 0 to 256
    RouteMark mark = RouteMark::kNone;  // of `route`
    const Route* route = nullptr;       // whose prefix ends here; null: none does
  };
  class Trie {
   public:
    void build(const std::vector<Entry>& sorted);
    RouteMatch match(std::string_view bytes) const;
    size_t routes() const { return routes_; }

   private:
    struct Range;  // entries that share a prefix and are not in the trie yet
    void add_children(const std::vector<Entry>& sorted, const Range& range,
                      std::vector<Range>& ranges);

    std::vector<Node> nodes_;  // [0] is the root, whose label is empty
    std::string first_bytes_;  // of the label of the node with the same index
    std::string labels_;
    size_t routes_ = 0;
  };

  RouteTable() = default;

  std::array<Trie, kRouteFramings> tries_;  // by framing
  std::vector<const Route*> commands_;
};

}  // namespace hrmr::modules
