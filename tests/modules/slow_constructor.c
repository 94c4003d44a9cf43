// Fault: a constructor that takes its time while the loader's lock is held: until the FIFO
// GATE was opened by a writer and closed again.
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <hrmr/abi.h>
#include <unistd.h>

__attribute__((constructor)) static void construct(void) {
  const int fd = open(GATE, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  char byte;
  while (read(fd, &byte, 1) > 0) continue;
  close(fd);
}

static int load(hrmr_load* call) {
  (void)call;
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "slow_constructor",
                                                .version = "1",
                                                .load = load};
