// Fault: compiled for an ABI of another major version.
#include <hrmr/abi.h>

static int load(hrmr_load* call) {
  (void)call;
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = (HRMR_ABI_MAJOR + 1) << 16,
                                                .name = "wrong_abi_major",
                                                .version = "1",
                                                .load = load};
