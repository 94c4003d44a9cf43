#include "base/alternate_stack.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/limits.h"

namespace hrmr {

AlternateStack::AlternateStack() {
  const auto page_bytes = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  bytes_ = page_bytes + limits::kAlternateStackBytes;
  void* const pages =
      ::mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) return;
  // The lowest page stays closed: a handler that needs more than there is must not write into what
  // lies below.
  stack_t stack{};
  stack.ss_sp = static_cast<char*>(pages) + page_bytes;
  stack.ss_size = limits::kAlternateStackBytes;
  if (::mprotect(stack.ss_sp, stack.ss_size, PROT_READ | PROT_WRITE) != 0 ||
      ::sigaltstack(&stack, &before_) != 0) {
    ::munmap(pages, bytes_);
    return;
  }
  pages_ = pages;
}

AlternateStack::~AlternateStack() {
  if (pages_ == nullptr) return;
  // Sanitizers give threads one of their own, and want to find it at the end of the thread.
  ::sigaltstack(&before_, nullptr);
  ::munmap(pages_, bytes_);
}

}  // namespace hrmr
