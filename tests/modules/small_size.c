// Fault: the size that it gives for its hrmr_module is smaller than that of ABI 1.0.
#include <hrmr/abi.h>

static int load(hrmr_load* call) {
  (void)call;
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(size_t) * 2,
                                                .abi = HRMR_ABI,
                                                .name = "small_size",
                                                .version = "1",
                                                .load = load};
