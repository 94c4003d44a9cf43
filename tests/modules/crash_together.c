// Fault: eight threads of its own crash at the same time.
#define _GNU_SOURCE
#include <hrmr/abi.h>
#include <pthread.h>
#include <stddef.h>

enum { kThreads = 8 };

static pthread_barrier_t barrier;

__attribute__((noinline)) static void write_nowhere(size_t value) {
  *(volatile size_t*)0x10 = value;  // NOLINT
}

static void* crash_with_the_others(void* unused) {
  pthread_barrier_wait(&barrier);
  write_nowhere(1);
  return unused;
}

static int crash(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)reply;
  (void)context;
  pthread_t threads[kThreads];
  pthread_barrier_init(&barrier, NULL, kThreads);
  for (int i = 0; i < kThreads; ++i) {
    pthread_create(&threads[i], NULL, crash_with_the_others, NULL);
  }
  for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
  return HRMR_OK;
}

static int load(hrmr_load* call) {
  const hrmr_route route = {
      .size = sizeof route, .prefix = HRMR_BYTES("TOGETHER"), .function = crash};
  return call->host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = sizeof(hrmr_module), .abi = HRMR_ABI, .name = "crash_together", .load = load};
