// Fault: takes signals when it is loaded.
#define _POSIX_C_SOURCE 200809L
#include <hrmr/abi.h>
#include <signal.h>
#include <stdlib.h>

static void on_signal(int signal) {
  (void)signal;
  abort();
}

static int load(hrmr_load* call) {
  (void)call;
  const struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGUSR2, &action, NULL);
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "signal_handler_in_load",
                                                .version = "1",
                                                .load = load};
