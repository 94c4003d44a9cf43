// Fault: overwrites each text that it handed to the host as soon as the host has it.
#include <hrmr/abi.h>
#include <string.h>

static const hrmr_host* host;
static char scratch[64];

static hrmr_bytes in_scratch(const char* text) {
  strcpy(scratch, text);
  return (hrmr_bytes){scratch, strlen(text)};
}

// Returns what it was given, which must be a call of the host's.
static int scribbled(int result) {
  memset(scratch, '#', sizeof scratch);
  return result;
}

static int answer(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)context;
  if (request->framing == HRMR_FRAMING_HTTP) {
    char name[] = "X-Scribbles";
    const int result = host->header(reply, (hrmr_bytes){name, strlen(name)}, in_scratch("header"));
    memset(name, '#', sizeof name);
    if (scribbled(result) != HRMR_OK) return result;
  } else if (request->rest.size != 0) {
    return scribbled(host->fail(reply, 400, in_scratch("failure")));
  }
  scribbled(host->write(reply, in_scratch("answer")));
  return host->write(reply, HRMR_BYTES("\n"));
}

static int load(hrmr_load* call) {
  host = call->host;
  hrmr_route route = {.size = sizeof route, .prefix = in_scratch("SCRIBBLE"), .function = answer};
  int result = scribbled(host->add_route(call, &route));
  route.prefix = in_scratch("GET /scribble");
  if (result == HRMR_OK) result = scribbled(host->add_route(call, &route));
  memset(&route, 0xff, sizeof route);
  host->log(call->context, HRMR_WARNING, in_scratch("record"));
#ifdef REFUSES
  result = host->set_error(call, in_scratch("refusal"));
#endif
  return scribbled(result);
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "scribbles",
                                                .version = "version of its own",
                                                .load = load};
