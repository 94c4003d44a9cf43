// Fault: a constructor that needs Python's lock, as code made with binding tools may have.
#include <dlfcn.h>

#include <hrmr/module.hpp>

namespace {

struct Constructed {
  Constructed() {
    const auto ensure = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "PyGILState_Ensure"));
    const auto release = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "PyGILState_Release"));
    release(ensure());
  }
} constructed;

void answer(const hrmr::Request&, hrmr::Reply& reply) { reply.write("constructed\n"); }

void load(hrmr::Module& module) { module.route("CONSTRUCTED", answer); }

}  // namespace

HRMR_MODULE("needs_gil", "1.0", load)
