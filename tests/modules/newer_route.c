// No fault: its route has fields of a later ABI, which this host does not know and must not read.
#include <hrmr/abi.h>

struct newer_route {
  hrmr_route known;
  void* field_of_a_later_abi;
};

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)reply;
  (void)context;
  return HRMR_OK;
}

static int load(hrmr_load* call) {
  struct newer_route route = {
      .known = {.size = sizeof route, .prefix = HRMR_BYTES("NEWER"), .function = answer}};
  return call->host->add_route(call, &route.known);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "newer_route",
                                                .version = "1",
                                                .load = load};
