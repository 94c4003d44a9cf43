// Fault: calls itself until the stack is used up.
#include <hrmr/abi.h>
#include <stddef.h>

__attribute__((noinline)) static size_t dig(volatile char* above, size_t depth) {
  volatile char room[4096];
  room[0] = above[0];
  if (depth == 0) return (size_t)room[0];
  return dig(room, depth - 1) + (size_t)room[0];
}

static int crash(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)reply;
  (void)context;
  volatile char first = 1;
  return (int)dig(&first, (size_t)1 << 40);
}

static int load(hrmr_load* call) {
  hrmr_route route = {.size = sizeof route, .prefix = HRMR_BYTES("DIG"), .function = crash};
  const int result = call->host->add_route(call, &route);
  if (result != HRMR_OK) return result;
  route.prefix = (hrmr_bytes)HRMR_BYTES("POOLDIG");
  route.run = HRMR_RUN_POOL;
  return call->host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = sizeof(hrmr_module), .abi = HRMR_ABI, .name = "crash_stack_overflow", .load = load};
