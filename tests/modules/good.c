// No fault: answers its VERSION, and says in the log when it is unloaded.
// MODULE_NAME, VERSION, PREFIX and SECOND_PREFIX can be given at compile time. With IGNORE_RESULT
// it has a fault: load returns HRMR_OK whatever add_route said.
#include <hrmr/abi.h>

#ifndef MODULE_NAME
#define MODULE_NAME "good"
#endif
#ifndef VERSION
#define VERSION "1"
#endif
#ifndef PREFIX
#define PREFIX "GOOD"
#endif

static const hrmr_host* host;
static hrmr_context* context;
static int state;

static int answer(const hrmr_request* request, hrmr_reply* reply, void* version) {
  (void)request;
  (void)version;
  return host->write(reply, HRMR_BYTES(VERSION));
}

static int load(hrmr_load* call) {
  host = call->host;
  context = call->context;
  call->state = &state;
  hrmr_route route = {.size = sizeof route, .prefix = HRMR_BYTES(PREFIX), .function = answer};
  int result = host->add_route(call, &route);
#ifdef SECOND_PREFIX
  if (result != HRMR_OK) return result;
  route.prefix = HRMR_BYTES(SECOND_PREFIX);
  route.run = HRMR_RUN_POOL;
  result = host->add_route(call, &route);
#endif
#ifdef IGNORE_RESULT
  result = HRMR_OK;
#endif
  return result;
}

static void unload(void* given) {
  host->log(context, HRMR_WARNING,
            given == &state ? HRMR_BYTES("unload " VERSION) : HRMR_BYTES("unload: wrong state"));
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = MODULE_NAME,
                                                .version = VERSION,
                                                .load = load,
                                                .unload = unload};
