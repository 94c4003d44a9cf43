// Fault: a GNU-unique symbol (compiled with -fgnu-unique), which dlclose never unmaps.
#include <hrmr/abi.h>

struct __attribute__((visibility("default"))) Registered {
  static Registered& instance() {
    static Registered only;
    return only;
  }
  int loads = 0;
};

static int load(hrmr_load*) {
  ++Registered::instance().loads;
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    sizeof(hrmr_module), HRMR_ABI, "gnu_unique", "1", load, nullptr, nullptr};
