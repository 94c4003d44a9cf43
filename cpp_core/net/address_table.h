// AddressTable: how many connections each address has, over all loops.
//
// Asked once per connection and not per request; its locks are split, so that loops that accept at
// the same time seldom meet.
//
// Threads: any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_map>

namespace hrmr::net {

class AddressTable {
 public:
  // 0: no bound, and nothing is counted.
  explicit AddressTable(size_t connections_max) : connections_max_(connections_max) {}

  // One more connection of `network` (Peer::network); false when it has as many as it may. 0 is
  // no address and always has room.
  bool take_place(uint64_t network);
  // Once for each take_place that was true.
  void give_place(uint64_t network);
  size_t addresses() const;

 private:
  struct Part {
    mutable std::mutex mutex;
    std::unordered_map<uint64_t, size_t> counts;  // an address without connections is not in it
  };
  Part& part_of(uint64_t network) {
    // The high bits of a product are those that all bits of the factor have a part in.
    return parts_[network * 0x9e3779b97f4a7c15u >> 60];
  }

  const size_t connections_max_;
  std::array<Part, 16> parts_;
};

}  // namespace hrmr::net
