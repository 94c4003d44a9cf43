// BoundedQueue: our lock-free multi-producer multi-consumer ring (see the design of Vyukov: one
// slot = a sequence number and a value). Full is an answer (try_push is false), never a wait. (The
// implementer completes this file.)
#pragma once

#include <cstddef>

namespace hrmr::work {

template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t slots);  // a power of two, 2 at least
  bool try_push(T value);
  bool try_pop(T& value);
  size_t approximate_size() const;
};

}  // namespace hrmr::work
