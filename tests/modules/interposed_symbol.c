// No fault, but a trap: exports a function that the process has too, and calls it through the
// symbol. The process's must win, as sanitizers need it for malloc; RTLD_DEEPBIND turns that round.
#include <hrmr/abi.h>

static const hrmr_host* host;

__attribute__((visibility("default"))) int getpagesize(void);
int getpagesize(void) { return 1; }

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)context;
  return host->write(reply, getpagesize() == 1 ? HRMR_BYTES("module's") : HRMR_BYTES("process's"));
}

static int load(hrmr_load* call) {
  host = call->host;
  const hrmr_route route = {.size = sizeof route, .prefix = HRMR_BYTES("SIZE"), .function = answer};
  return host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "interposed_symbol",
                                                .version = "1",
                                                .load = load};
