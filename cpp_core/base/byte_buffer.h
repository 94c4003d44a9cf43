// ByteBuffer: contiguous bytes, consumed at the front and appended at the back. BufferPool: the
// storage that one loop keeps for its connections, so that idle ones own none and busy ones
// allocate nothing.
//
// Lifetime: pointers into a buffer live until the next reserve/append (which may move the bytes),
// take or destruction. Threads: a buffer belongs to one thread at a time; a pool to one thread for
// ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/limits.h"

namespace hrmr {

class ByteBuffer {
 public:
  ByteBuffer() = default;
  ByteBuffer(ByteBuffer&& other) noexcept { swap(other); }
  ByteBuffer& operator=(ByteBuffer&& other) noexcept {
    ByteBuffer taken(std::move(other));
    swap(taken);
    return *this;
  }
  ByteBuffer(const ByteBuffer&) = delete;
  ByteBuffer& operator=(const ByteBuffer&) = delete;
  ~ByteBuffer() { std::free(storage_); }

  // A copy in memory of exactly its size.
  static ByteBuffer exact_copy(std::string_view bytes);

  char* data() { return storage_ + begin_; }
  const char* data() const { return storage_ + begin_; }
  size_t size() const { return end_ - begin_; }
  bool is_empty() const { return begin_ == end_; }
  size_t capacity() const { return capacity_; }
  size_t tail_room() const { return capacity_ - end_; }
  std::string_view view() const { return {data(), size()}; }

  // Room for at least `bytes` more at the back; the caller fills some of it and commits that. May
  // move the content.
  char* reserve(size_t bytes) {
    if (tail_room() < bytes) make_room(bytes);
    return storage_ + end_;
  }
  void commit(size_t bytes) {
    HRMR_CHECK(bytes <= tail_room());
    end_ += bytes;
  }
  void append(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(reserve(bytes.size()), bytes.data(), bytes.size());
    end_ += bytes.size();
  }
  void consume(size_t bytes) {
    HRMR_CHECK(bytes <= size());
    begin_ += bytes;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  // Drops everything after the first `bytes` bytes.
  void truncate(size_t bytes) {
    HRMR_CHECK(bytes <= size());
    end_ = begin_ + bytes;
  }
  void clear() { begin_ = end_ = 0; }
  // Gives the memory back.
  void release() { ByteBuffer().swap(*this); }

  void swap(ByteBuffer& other) noexcept {
    std::swap(storage_, other.storage_);
    std::swap(capacity_, other.capacity_);
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
  }

 private:
  void make_room(size_t bytes);

  char* storage_ = nullptr;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

class BufferPool {
 public:
  BufferPool() { kept_.reserve(limits::kBuffersKept); }

  // An empty buffer of at least kBufferBytes.
  ByteBuffer take() {
    if (kept_.empty()) {
      ByteBuffer fresh;
      fresh.reserve(limits::kBufferBytes);
      return fresh;
    }
    ByteBuffer buffer = std::move(kept_.back());
    kept_.pop_back();
    return buffer;
  }
  // Takes the storage of `buffer`, which owns none afterwards.
  void give(ByteBuffer& buffer) {
    if (buffer.capacity() == 0) return;
    buffer.clear();
    if (buffer.capacity() > limits::kBufferKeepBytes || kept_.size() == limits::kBuffersKept) {
      buffer.release();
      return;
    }
    kept_.push_back(std::move(buffer));
  }

 private:
  std::vector<ByteBuffer> kept_;
};

}  // namespace hrmr
