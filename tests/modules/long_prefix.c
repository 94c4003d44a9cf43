// Fault: registers a prefix of PREFIX_BYTES bytes; 1024 is the longest one allowed.
#include <hrmr/abi.h>

#ifndef PREFIX_BYTES
#define PREFIX_BYTES 1025
#endif

static char prefix[PREFIX_BYTES];

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)reply;
  (void)context;
  return HRMR_OK;
}

static int load(hrmr_load* call) {
  for (size_t i = 0; i < sizeof prefix; ++i) prefix[i] = 'x';
  const hrmr_route route = {
      .size = sizeof route, .prefix = {prefix, sizeof prefix}, .function = answer};
  return call->host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "long_prefix",
                                                .version = "1",
                                                .load = load};
