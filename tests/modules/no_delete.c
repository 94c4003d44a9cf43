// Fault: linked with -z nodelete, so that dlclose never unmaps it.
#include <hrmr/abi.h>

static int load(hrmr_load* call) {
  (void)call;
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "no_delete",
                                                .version = "1",
                                                .load = load};
