#include "net/address_table.h"

#include "base/check.h"

namespace hrmr::net {

bool AddressTable::take_place(uint64_t network) {
  if (connections_max_ == 0 || network == 0) return true;
  Part& part = part_of(network);
  const std::lock_guard lock(part.mutex);
  size_t& count = part.counts[network];
  if (count == connections_max_) return false;
  ++count;
  return true;
}

void AddressTable::give_place(uint64_t network) {
  if (connections_max_ == 0 || network == 0) return;
  Part& part = part_of(network);
  const std::lock_guard lock(part.mutex);
  const auto found = part.counts.find(network);
  HRMR_CHECK(found != part.counts.end());
  if (--found->second == 0) part.counts.erase(found);
}

size_t AddressTable::addresses() const {
  size_t sum = 0;
  for (const Part& part : parts_) {
    const std::lock_guard lock(part.mutex);
    sum += part.counts.size();
  }
  return sum;
}

}  // namespace hrmr::net
