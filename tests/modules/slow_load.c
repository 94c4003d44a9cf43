// Fault: load takes its time (LOAD_MS milliseconds).
#define _POSIX_C_SOURCE 200809L
#include <hrmr/abi.h>
#include <time.h>

#ifndef LOAD_MS
#define LOAD_MS 200
#endif

static const hrmr_host* host;

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)context;
  return host->write(reply, HRMR_BYTES("slow\n"));
}

static int load(hrmr_load* call) {
  host = call->host;
  const struct timespec pause = {.tv_sec = LOAD_MS / 1000, .tv_nsec = LOAD_MS % 1000 * 1000000L};
  nanosleep(&pause, NULL);
  const hrmr_route route = {.size = sizeof route, .prefix = HRMR_BYTES("SLOW"), .function = answer};
  return host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "slow_load",
                                                .version = "1",
                                                .load = load};
