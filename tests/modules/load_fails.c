// Fault: load fails and says why.
#include <hrmr/abi.h>

static int load(hrmr_load* call) {
  return call->host->set_error(call, HRMR_BYTES("the database is not there"));
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "load_fails",
                                                .version = "1",
                                                .load = load};
