#include "server/file_reading.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "net/page_cache.h"

namespace hrmr::server {

FileReading::FileReading(net::EventLoop& loop, FileReader& owner, FileRange& range)
    : loop_(loop),
      owner_(owner),
      fd_(std::move(range.fd)),
      offset_(range.offset),
      bytes_(std::min<uint64_t>(range.left, limits::kFileReadBytes)),
      left_(range.left) {}

void FileReading::run() {
  if (!is_unwanted_.load(std::memory_order_relaxed)) {
    // What comes behind is on its way while this is sent.
    net::announce(fd_.get(), offset_, std::min<uint64_t>(left_, 2 * limits::kFileReadBytes));
    is_good_ = net::read_in(fd_.get(), offset_, bytes_, is_unwanted_);
  }
  loop_.post(*this);  // last: the loop may free it at once
}

}  // namespace hrmr::server
