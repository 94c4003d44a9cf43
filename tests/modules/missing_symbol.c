// Fault: calls a function that nobody defines.
#include <hrmr/abi.h>

extern int nobody_defines_this(void);

static int load(hrmr_load* call) {
  (void)call;
  return nobody_defines_this();
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "missing_symbol",
                                                .version = "1",
                                                .load = load};
