// Fault: initial-exec thread-local storage, of which a process has room for few loads only.
#include <hrmr/abi.h>

static __thread __attribute__((tls_model("initial-exec"))) int counter;

static int load(hrmr_load* call) {
  (void)call;
  ++counter;
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "static_tls",
                                                .version = "1",
                                                .load = load};
