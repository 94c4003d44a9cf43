// Fault: registers one prefix twice and ignores what add_route returns.
#include <hrmr/abi.h>

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)reply;
  (void)context;
  return HRMR_OK;
}

static int load(hrmr_load* call) {
  const hrmr_route route = {
      .size = sizeof route, .prefix = HRMR_BYTES("TWICE"), .function = answer};
  call->host->add_route(call, &route);
  call->host->add_route(call, &route);
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "duplicate_prefix",
                                                .version = "1",
                                                .load = load};
