// Output: what waits to be sent to one peer: bytes in memory, and ranges of files between them.
//
// It is a ByteBuffer of the bytes in memory, so that whoever writes bytes need not know of files.
// A file is at a place between two of those bytes; what was written before it is sent before it.
//
// Lifetime and threads: as of a ByteBuffer. Each range holds a descriptor of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/byte_buffer.h"
#include "base/fd.h"

namespace hrmr {

// A range of a file; the parts of it that are sent are taken off its front.
struct FileRange {
  // How the file system tells what of the file is in the page cache: to a read, to a map, not at
  // all, or all of it is.
  enum class Residency : uint8_t { kToldToRead, kToldToMap, kNotTold, kInMemory };

  Fd fd;
  uint64_t offset = 0;
  uint64_t left = 0;   // bytes, from `offset` on
  uint64_t ready = 0;  // what lies before this offset was in the page cache a moment ago
  Residency residency = Residency::kToldToRead;  // until it is found not to be
};

class Output : public ByteBuffer {
 public:
  // Nothing is left to be sent, neither bytes nor files.
  bool is_empty() const { return ByteBuffer::is_empty() && !has_files(); }
  bool has_files() const { return first_ != files_.size(); }
  size_t file_count() const { return files_.size() - first_; }
  // So much waits that nothing should be added before some of it is sent.
  bool is_high(size_t bytes_max = limits::kOutputHighBytes) const {
    return size() > bytes_max || file_count() >= limits::kOutputFilesHigh;
  }
  // The same as a sum: the bytes, and so much for each file that kOutputFilesHigh of them weigh
  // kOutputHighBytes.
  size_t weight() const {
    return size() + file_count() * (limits::kOutputHighBytes / limits::kOutputFilesHigh);
  }

  // The bytes in front of the first file. While there are none, the file is next.
  size_t bytes_ready() const {
    return has_files() ? static_cast<size_t>(files_[first_].at - gone_) : size();
  }
  FileRange& first_file() { return files_[first_].range; }
  void remove_first_file();

  // Behind all that was written so far.
  void add_file(FileRange range) { files_.push_back({gone_ + size(), std::move(range)}); }
  // The bytes of the files from the `first`th on (as file_count counts) have moved.
  void move_files(size_t first, ptrdiff_t bytes);
  // Drops the files from the `first`th on.
  void drop_files(size_t first) { files_.resize(first_ + first); }

  void consume(size_t bytes) {
    ByteBuffer::consume(bytes);
    if (has_files()) gone_ += bytes;
  }
  using ByteBuffer::append;
  // All of `other`, which is empty afterwards.
  void append(Output& other);
  void clear() {
    ByteBuffer::clear();
    drop_files(0);
  }
  // Memory for an output that owns none; its files stay.
  void lend(ByteBuffer storage) { ByteBuffer::swap(storage); }

  void swap(Output& other) noexcept {
    ByteBuffer::swap(other);
    files_.swap(other.files_);
    std::swap(first_, other.first_);
    std::swap(gone_, other.gone_);
  }

 private:
  struct Place {
    uint64_t at = 0;  // the bytes in front of it, those that are gone included
    FileRange range;
  };

  std::vector<Place> files_;
  size_t first_ = 0;
  uint64_t gone_ = 0;  // bytes that were consumed in front of files
};

}  // namespace hrmr
