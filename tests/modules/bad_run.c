// Fault: registers a prefix that shall run where nothing runs.
#include <hrmr/abi.h>

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)reply;
  (void)context;
  return HRMR_OK;
}

static int load(hrmr_load* call) {
  const hrmr_route route = {
      .size = sizeof route, .prefix = HRMR_BYTES("BAD"), .run = 99, .function = answer};
  return call->host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = sizeof(hrmr_module), .abi = HRMR_ABI, .name = "bad_run", .version = "1", .load = load};
