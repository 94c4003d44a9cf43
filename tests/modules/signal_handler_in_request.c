// Fault: takes a signal while it serves, and leaves the handler behind.
#define _POSIX_C_SOURCE 200809L
#include <hrmr/abi.h>
#include <signal.h>

#ifndef VERSION
#define VERSION "1"
#endif

static const hrmr_host* host;

static void on_signal(int signal, siginfo_t* info, void* frame) {
  (void)signal;
  (void)info;
  (void)frame;
}

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)request;
  (void)context;
  const struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};
  sigaction(SIGUSR1, &action, NULL);
  return host->write(reply, HRMR_BYTES("taken by " VERSION "\n"));
}

static int load(hrmr_load* call) {
  host = call->host;
  const hrmr_route route = {.size = sizeof route, .prefix = HRMR_BYTES("TAKE"), .function = answer};
  return host->add_route(call, &route);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "signal_handler_in_request",
                                                .version = VERSION,
                                                .load = load};
