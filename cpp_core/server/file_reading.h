// FileReading: brings the next stretch of a file into the page cache, on the pool, while the
// connection that is to send it waits; the loop and its other connections do not.
//
// Lifetime: made on the loop when the stretch is found missing. It holds the range's descriptor
// while it is away, so that the connection may close meanwhile. Once a pool has taken it, it is its
// own, until it comes back to the loop as a letter and its owner gets it. The owner lives until
// then. Threads: its loop's, but run() on a worker.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/output.h"
#include "net/event_loop.h"
#include "work/worker_pool.h"

namespace hrmr::server {

class FileReading;

class FileReader {
 public:
  // It is back. On the loop's thread.
  virtual void on_file_read(std::unique_ptr<FileReading> reading) = 0;

 protected:
  ~FileReader() = default;
};

class FileReading final : public work::Job, public net::Letter {
 public:
  // For the beginning of `range`, whose descriptor it takes.
  FileReading(net::EventLoop& loop, FileReader& owner, FileRange& range);
  FileReading(const FileReading&) = delete;
  FileReading& operator=(const FileReading&) = delete;

  // Nobody waits for it any more. While it is away.
  void cancel() { is_unwanted_.store(true, std::memory_order_relaxed); }

  // After it is back, or when no pool has taken it.
  void give_back(FileRange& range) { range.fd = std::move(fd_); }
  // After it is back: false, the file cannot be read. `end`: what lies before it, was read.
  bool is_good() const { return is_good_; }
  uint64_t end() const { return offset_ + bytes_; }

  void run() override;
  void on_delivery() override { owner_.on_file_read(std::unique_ptr<FileReading>(this)); }
  void on_undelivered() override { delete this; }

 private:
  net::EventLoop& loop_;
  FileReader& owner_;
  Fd fd_;
  const uint64_t offset_;
  const uint64_t bytes_;
  const uint64_t left_;  // of the range
  bool is_good_ = true;
  std::atomic<bool> is_unwanted_{false};
};

}  // namespace hrmr::server
