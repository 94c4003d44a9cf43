// versioned: one module in many editions, told apart by macros: VERSION, and one way to be broken.
#include <fcntl.h>
#include <unistd.h>

#include <hrmr/module.hpp>
#include <stdexcept>
#include <string>

namespace {

void wait_for(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;  // no gate: nothing to wait for
  char byte;
  while (::read(fd, &byte, 1) > 0) continue;
  ::close(fd);
}

void answer(const hrmr::Request&, hrmr::Reply& reply) { reply.write("version " VERSION "\n"); }

void hold(const hrmr::Request& request, hrmr::Reply& reply) {
  wait_for(std::string(request.rest()));
  reply.write("held by version " VERSION "\n");
}

void load(hrmr::Module& module) {
  wait_for(std::string(module.config("gate")));
#ifdef REFUSES
  throw std::runtime_error("refused on purpose");
#endif
  module.route("VERSION", answer);
  module.route("POOLVERSION", answer, hrmr::kPool);
  module.route("GET /version", answer);
  module.route("HOLD ", hold, hrmr::kPool);
#ifdef TAKES_PREFIX
  module.route(TAKES_PREFIX, answer);
#endif
}

}  // namespace

#ifdef WRONG_ABI
HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    sizeof(hrmr_module),     (HRMR_ABI_MAJOR + 1) << 16, "versioned", VERSION,
    hrmr::Entry<load>::load, hrmr::Entry<load>::unload};
#elif defined(NO_ENTRY)
HRMR_EXPORT int nothing_of_hrmr() {
  (void)load;
  return 0;
}
#else
#ifndef NAME
#define NAME "versioned"
#endif
HRMR_MODULE(NAME, VERSION, load)
#endif
