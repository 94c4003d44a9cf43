// Representation: one file as it is sent: its bytes, or a descriptor to send them from, and all
// that is said about it. Immutable once it is shared, but for when it was last looked at.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "date.h"
#include "encoding.h"
#include "etag.h"
#include "file.h"

namespace http {

struct Representation {
  // What is sent, and of which file; `plain` is the file that was asked for. The two differ when
  // what is sent is a precompressed sibling.
  Identity identity;
  Identity plain;
  std::string path;  // absolute
  std::string plain_path;

  Coding coding = Coding::kIdentity;
  bool varies = false;  // there is a sibling, so another client may get another one
  bool is_settled = false;
  std::string_view content_type;  // of a table that lives as long as the module
  EtagText etag;
  DateText last_modified;
  int64_t modified_s = 0;

  uint64_t size = 0;
  bool is_in_memory = false;
  std::string bytes;  // if so; else `file` is open
  File file;

  std::atomic<int64_t> resolved_ms{0};  // when the walk to it was last made; monotonic

  size_t memory_bytes() const {
    return sizeof *this + bytes.capacity() + path.capacity() + plain_path.capacity();
  }
  bool is_same_as(const Representation& other) const {
    return identity == other.identity && plain == other.plain && path == other.path &&
           coding == other.coding && varies == other.varies;
  }
};

}  // namespace http
