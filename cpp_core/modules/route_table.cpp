#include "modules/route_table.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"

namespace hrmr::modules {

// The entries [begin, end) have the first `depth` bytes in common, and node `node` is where those
// end. Only its children are still missing.
struct RouteTable::Trie::Range {
  size_t begin;
  size_t end;
  size_t depth;
  uint32_t node;
};

namespace {

size_t common_prefix_bytes(std::string_view left, std::string_view right) {
  const size_t bytes = std::min(left.size(), right.size());
  return static_cast<size_t>(
      std::mismatch(left.begin(), left.begin() + static_cast<long>(bytes), right.begin()).first -
      left.begin());
}

}  // namespace

void RouteTable::Trie::build(const std::vector<Entry>& sorted) {
  routes_ = sorted.size();
  nodes_.assign(1, Node());
  first_bytes_.assign(1, '\0');
  std::vector<Range> ranges = {{0, sorted.size(), 0, 0}};
  // `ranges` grows behind the index: breadth first, which is what keeps siblings together.
  for (size_t i = 0; i < ranges.size(); ++i) {
    const Range range = ranges[i];
    add_children(sorted, range, ranges);
  }
}

void RouteTable::Trie::add_children(const std::vector<Entry>& sorted, const Range& range,
                                    std::vector<Range>& ranges) {
  size_t begin = range.begin;
  // Sorted, so an entry that ends at this node comes first; prefixes are distinct, so only one can.
  if (begin < range.end && sorted[begin].route->prefix.size() == range.depth) {
    nodes_[range.node].route = sorted[begin].route;
    nodes_[range.node].mark = sorted[begin].mark;
    ++begin;
  }
  nodes_[range.node].first_child = static_cast<uint32_t>(nodes_.size());
  while (begin < range.end) {
    const std::string& first = sorted[begin].route->prefix;
    size_t end = begin + 1;
    while (end < range.end && sorted[end].route->prefix[range.depth] == first[range.depth]) ++end;
    // In sorted order the first and the last of a group have in common what all of them have.
    const size_t depth = common_prefix_bytes(first, sorted[end - 1].route->prefix);
    Node child;
    child.label = static_cast<uint32_t>(labels_.size());
    child.label_bytes = static_cast<uint32_t>(depth - range.depth - 1);
    labels_.append(first, range.depth + 1, child.label_bytes);
    ranges.push_back({begin, end, depth, static_cast<uint32_t>(nodes_.size())});
    nodes_.push_back(child);
    first_bytes_.push_back(first[range.depth]);
    ++nodes_[range.node].children;
    begin = end;
  }
}

RouteMatch RouteTable::Trie::match(std::string_view bytes) const {
  RouteMatch longest;
  if (nodes_.empty()) return longest;
  const Node* node = nodes_.data();
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  while (at != end && node->children != 0) {
    const char* const run = first_bytes_.data() + node->first_child;
    const void* found = std::memchr(run, static_cast<unsigned char>(*at), node->children);
    if (found == nullptr) break;
    node = &nodes_[node->first_child + static_cast<size_t>(static_cast<const char*>(found) - run)];
    ++at;
    if (static_cast<size_t>(end - at) < node->label_bytes) break;
    if (std::memcmp(at, labels_.data() + node->label, node->label_bytes) != 0) break;
    at += node->label_bytes;
    if (node->route != nullptr) longest = {node->route, node->mark};
  }
  return longest;
}

std::shared_ptr<const RouteTable> RouteTable::build(std::vector<Entry> entries) {
  // char_traits<char> compares bytes as unsigned, as memchr and memcmp do.
  std::sort(entries.begin(), entries.end(), [](const Entry& left, const Entry& right) {
    if (left.route->framing != right.route->framing) {
      return left.route->framing < right.route->framing;
    }
    return left.route->prefix < right.route->prefix;
  });
  std::shared_ptr<RouteTable> table(new RouteTable);
  for (size_t begin = 0; begin < entries.size();) {
    const RouteFraming framing = entries[begin].route->framing;
    std::vector<Entry> same_framing;
    for (; begin < entries.size() && entries[begin].route->framing == framing; ++begin) {
      HRMR_CHECK(!entries[begin].route->prefix.empty());
      HRMR_CHECK(same_framing.empty() ||
                 same_framing.back().route->prefix != entries[begin].route->prefix);
      same_framing.push_back(entries[begin]);
      if (framing == RouteFraming::kCommand) table->commands_.push_back(entries[begin].route);
    }
    table->tries_.at(static_cast<size_t>(framing)).build(same_framing);
  }
  return table;
}

RouteMatch RouteTable::match(RouteFraming framing, std::string_view bytes) const {
  return tries_[static_cast<size_t>(framing)].match(bytes);
}

RouteMatch RouteTable::match_command(std::string_view name) const {
  char capitals[limits::kCommandNameBytesMax];
  if (name.size() > sizeof capitals) return {};
  std::transform(name.begin(), name.end(), capitals, ascii_upper);
  const RouteMatch longest = match(RouteFraming::kCommand, {capitals, name.size()});
  const bool is_all = longest.route != nullptr && longest.route->prefix.size() == name.size();
  return is_all ? longest : RouteMatch();
}

bool RouteTable::has(RouteFraming framing) const {
  return tries_[static_cast<size_t>(framing)].routes() != 0;
}

size_t RouteTable::size() const {
  size_t routes = 0;
  for (const Trie& trie : tries_) routes += trie.routes();
  return routes;
}

}  // namespace hrmr::modules
