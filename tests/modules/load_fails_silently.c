// Fault: load fails without a word.
#include <hrmr/abi.h>

static int load(hrmr_load* call) {
  (void)call;
  return 7;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "load_fails_silently",
                                                .version = "1",
                                                .load = load};
