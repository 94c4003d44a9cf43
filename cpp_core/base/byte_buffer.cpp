#include "base/byte_buffer.h"

#include <new>

namespace hrmr {

ByteBuffer ByteBuffer::exact_copy(std::string_view bytes) {
  ByteBuffer copy;
  if (bytes.empty()) return copy;
  copy.storage_ = static_cast<char*>(std::malloc(bytes.size()));
  if (copy.storage_ == nullptr) throw std::bad_alloc();
  std::memcpy(copy.storage_, bytes.data(), bytes.size());
  copy.capacity_ = copy.end_ = bytes.size();
  return copy;
}

void ByteBuffer::make_room(size_t bytes) {
  const size_t used = size();
  // Moving to the front is cheaper than growing, but only while it frees at least half: otherwise a
  // buffer that is consumed in small steps would be moved for each of them.
  if (begin_ >= capacity_ / 2 && capacity_ - used >= bytes) {
    std::memmove(storage_, storage_ + begin_, used);
    begin_ = 0;
    end_ = used;
    return;
  }
  size_t wanted = capacity_ < limits::kBufferBytes ? limits::kBufferBytes : capacity_ * 2;
  if (wanted < used + bytes) wanted = used + bytes;
  char* grown = static_cast<char*>(std::malloc(wanted));
  if (grown == nullptr) throw std::bad_alloc();
  if (used != 0) std::memcpy(grown, storage_ + begin_, used);
  std::free(storage_);
  storage_ = grown;
  capacity_ = wanted;
  begin_ = 0;
  end_ = used;
}

}  // namespace hrmr
