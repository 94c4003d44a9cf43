// Fault: hands over a route whose size is not set.
#include <hrmr/abi.h>

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)reply;
  (void)context;
  return HRMR_OK;
}

static int load(hrmr_load* call) {
  const hrmr_route route = {.prefix = HRMR_BYTES("SIZELESS"), .function = answer};
  return call->host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "no_route_size",
                                                .version = "1",
                                                .load = load};
