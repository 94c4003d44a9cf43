// Fault: divides by zero.
#include <hrmr/abi.h>

__attribute__((noinline)) static int divide(int dividend, int divisor) {
#if defined(__x86_64__)
  int quotient = dividend;
  int rest = 0;
  __asm__ volatile("cltd\n\tidivl %2" : "+a"(quotient), "=&d"(rest) : "r"(divisor));
  return quotient;
#else
  // Elsewhere the instruction gives 0 instead of a fault.
  if (divisor == 0) __builtin_trap();
  return dividend / divisor;
#endif
}

static int crash(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)reply;
  (void)context;
  return divide((int)request->bytes.size, (int)request->rest.size) + 1;
}

static int load(hrmr_load* call) {
  const hrmr_route route = {.size = sizeof route, .prefix = HRMR_BYTES("FPE"), .function = crash};
  return call->host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = sizeof(hrmr_module), .abi = HRMR_ABI, .name = "crash_fpe", .load = load};
