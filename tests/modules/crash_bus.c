// Fault: reads a page that is mapped from a file which ends before it.
#define _GNU_SOURCE
#include <hrmr/abi.h>
#include <sys/mman.h>

__attribute__((noinline)) static int read_past_the_end(void) {
  const int file = memfd_create("empty", MFD_CLOEXEC);
  const volatile char* page = mmap(NULL, 1, PROT_READ, MAP_SHARED, file, 0);
  return page[0] + 1;
}

static int crash(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)reply;
  (void)context;
  return read_past_the_end();
}

static int load(hrmr_load* call) {
  const hrmr_route route = {.size = sizeof route, .prefix = HRMR_BYTES("BUS"), .function = crash};
  return call->host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = sizeof(hrmr_module), .abi = HRMR_ABI, .name = "crash_bus", .load = load};
