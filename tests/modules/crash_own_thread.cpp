// Fault: a thread of its own ends by an exception that nobody catches (THROW), or writes to nowhere
// (WRITE). A thread waits for it, so that the handler is not what crashes.
#include <cstddef>
#include <hrmr/module.hpp>
#include <stdexcept>
#include <thread>

namespace {

[[gnu::noinline]] void throw_out(size_t size) {
  if (size != 0) throw std::runtime_error("no\nstock left");
}

[[gnu::noinline]] void write_nowhere(size_t value) {
  *reinterpret_cast<volatile size_t*>(0x10) = value;
}

void crash_by_exception(const hrmr::Request& request, hrmr::Reply& reply) {
  std::thread(throw_out, request.bytes().size()).join();
  reply.write("survived\n");
}

void crash_by_write(const hrmr::Request& request, hrmr::Reply& reply) {
  std::thread(write_nowhere, request.bytes().size()).join();
  reply.write("survived\n");
}

void load(hrmr::Module& module) {
  module.route("THROW", crash_by_exception, hrmr::kPool);
  module.route("WRITE", crash_by_write, hrmr::kPool);
}

}  // namespace

HRMR_MODULE("crash_own_thread", "1.0", load)
