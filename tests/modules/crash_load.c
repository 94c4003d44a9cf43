// Fault: crashes in load; with IN_UNLOAD in unload instead, with IN_TIMER in a timer, with
// IN_CONSTRUCTOR before load, while it is being mapped.
#include <hrmr/abi.h>
#include <stddef.h>

__attribute__((noinline)) static void write_nowhere(size_t value) {
  *(volatile size_t*)0x10 = value;  // NOLINT
}

#ifdef IN_CONSTRUCTOR
__attribute__((constructor)) static void construct(void) { write_nowhere(1); }
#endif

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)reply;
  (void)context;
  return HRMR_OK;
}

#ifdef IN_TIMER
static void tick(void* context) {
  (void)context;
  write_nowhere(1);
}
#endif

static int load(hrmr_load* call) {
#if defined(IN_TIMER)
  const hrmr_timer timer = {.size = sizeof timer, .interval_ms = 10, .function = tick};
  if (call->host->add_timer(call, &timer) != HRMR_OK) return HRMR_FAILED;
#elif !defined(IN_UNLOAD) && !defined(IN_CONSTRUCTOR)
  write_nowhere(1);
#endif
  const hrmr_route route = {.size = sizeof route, .prefix = HRMR_BYTES("X"), .function = answer};
  return call->host->add_route(call, &route);
}

static void unload(void* state) {
  (void)state;
#ifdef IN_UNLOAD
  write_nowhere(1);
#endif
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "crash_load",
                                                .load = load,
                                                .unload = unload};
