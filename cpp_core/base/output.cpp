#include "base/output.h"

namespace hrmr {

void Output::remove_first_file() {
  files_[first_].range.fd.reset();
  ++first_;
  if (has_files()) return;
  files_.clear();
  first_ = 0;
}

void Output::move_files(size_t first, ptrdiff_t bytes) {
  for (size_t i = first_ + first; i < files_.size(); ++i) {
    files_[i].at += static_cast<uint64_t>(bytes);
  }
}

void Output::append(Output& other) {
  if (is_empty()) {
    swap(other);
    other.clear();
    return;
  }
  const uint64_t start = gone_ + size();
  for (size_t i = other.first_; i < other.files_.size(); ++i) {
    files_.push_back(
        {start + (other.files_[i].at - other.gone_), std::move(other.files_[i].range)});
  }
  append(other.view());
  other.clear();
}

}  // namespace hrmr
