// Fault: the size of its hrmr_module is not set.
#include <hrmr/abi.h>

static int load(hrmr_load* call) {
  (void)call;
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = 0, .abi = HRMR_ABI, .name = "no_size", .version = "1", .load = load};
