// Fault: writes to address 0x10, in a static function, when it is asked to on the loop (SEGV), on
// the pool (POOLSEGV) or over HTTP (GET /segv); SAFE does nothing.
#include <hrmr/abi.h>
#include <stddef.h>

static const hrmr_host* host;

__attribute__((noinline)) static void write_nowhere(size_t value) {
  *(volatile size_t*)0x10 = value;  // NOLINT
}

static int crash(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)context;
  write_nowhere(request->bytes.size);
  return host->write(reply, HRMR_BYTES("survived\n"));
}

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)context;
  return host->write(reply, HRMR_BYTES("safe\n"));
}

static int load(hrmr_load* call) {
  host = call->host;
  const hrmr_route routes[] = {
      {.size = sizeof(hrmr_route), .prefix = HRMR_BYTES("SAFE"), .function = answer},
      {.size = sizeof(hrmr_route), .prefix = HRMR_BYTES("SEGV"), .function = crash},
      {.size = sizeof(hrmr_route), .prefix = HRMR_BYTES("GET /segv"), .function = crash},
      {.size = sizeof(hrmr_route),
       .prefix = HRMR_BYTES("POOLSEGV"),
       .run = HRMR_RUN_POOL,
       .function = crash}};
  for (size_t i = 0; i < sizeof routes / sizeof *routes; ++i) {
    const int result = host->add_route(call, &routes[i]);
    if (result != HRMR_OK) return result;
  }
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = sizeof(hrmr_module), .abi = HRMR_ABI, .name = "crash_segv", .load = load};
