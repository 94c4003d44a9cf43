// Fault: compiled for a newer minor version of the ABI than the host has.
#include <hrmr/abi.h>

static int load(hrmr_load* call) {
  (void)call;
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI + 1,
                                                .name = "newer_minor",
                                                .version = "1",
                                                .load = load};
