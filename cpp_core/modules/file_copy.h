// Files as loaders need them: a real copy of what the user may overwrite at any time, and its
// bytes.
//
// Threads: any; no state.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/status.h"

namespace hrmr::modules {

// Copies the content of `from` to the new file `to` (mode 0700, which must not exist yet). A copy
// with an inode of its own, never a link: the loader of the C library knows libraries by inode.
// An error leaves no file behind; one of them is that `from` changed while it was read.
Status copy_file(const std::string& from, const std::string& to);

// False also when one of them cannot be read.
bool has_same_bytes(const std::string& left, const std::string& right);

// The bytes of a file that nobody writes to any more, read-only. Lives as long as the object.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  std::string_view bytes() const { return {address_, size_}; }

 private:
  MappedFile(const char* address, size_t size) : address_(address), size_(size) {}

  const char* address_;
  size_t size_;
};

}  // namespace hrmr::modules
