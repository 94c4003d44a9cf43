// No fault, but a trap: exports a function under a name that every generation has, and calls it
// through the symbol. Each generation must call its own.
#include <hrmr/abi.h>

#ifndef VERSION
#define VERSION "1"
#endif

static const hrmr_host* host;

__attribute__((visibility("default"), noinline)) hrmr_bytes exported_answer(void) {
  return HRMR_BYTES(VERSION);
}

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)context;
  return host->write(reply, exported_answer());
}

static int load(hrmr_load* call) {
  host = call->host;
  const hrmr_route route = {
      .size = sizeof route, .prefix = HRMR_BYTES("SYMBOL"), .function = answer};
  return host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "same_symbol",
                                                .version = "1",
                                                .load = load};
