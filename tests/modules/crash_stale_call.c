// Fault: calls a function whose code has been unmapped: in the handler (CALL), or in a thread of
// its own (THREAD).
#define _GNU_SOURCE
#include <hrmr/abi.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>

typedef int (*callback)(int);

__attribute__((noinline)) static int call_what_is_gone(int argument) {
  void* page = mmap(NULL, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(page, 1);
  callback gone = NULL;
  __builtin_memcpy(&gone, &page, sizeof gone);
  return gone(argument) + argument;
}

static int crash(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)reply;
  (void)context;
  return call_what_is_gone((int)request->bytes.size) + 1;
}

static void* run(void* unused) { return call_what_is_gone(1) == 0 ? unused : NULL; }

static int crash_aside(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)reply;
  (void)context;
  pthread_t thread;
  pthread_create(&thread, NULL, run, NULL);
  return pthread_join(thread, NULL);
}

static int load(hrmr_load* call) {
  hrmr_route route = {.size = sizeof route, .prefix = HRMR_BYTES("CALL"), .function = crash};
  const int result = call->host->add_route(call, &route);
  if (result != HRMR_OK) return result;
  route.prefix = HRMR_BYTES("THREAD");
  route.function = crash_aside;
  return call->host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = sizeof(hrmr_module), .abi = HRMR_ABI, .name = "crash_stale_call", .load = load};
