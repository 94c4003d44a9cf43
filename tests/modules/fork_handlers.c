// Fault: leaves handlers for fork behind.
#include <hrmr/abi.h>
#include <pthread.h>

static int forks;

static void count(void) { ++forks; }

static int load(hrmr_load* call) {
  (void)call;
  return pthread_atfork(count, count, count);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "fork_handlers",
                                                .version = "1",
                                                .load = load};
