/* hello: the smallest module, in plain C.
 *
 *     $ printf 'HELLO\nCLOSE\n' | nc 127.0.0.1 8080
 *     hello from C
 *     $ printf 'HELLO bob\nCLOSE\n' | nc 127.0.0.1 8080
 *     hello bob
 *
 * Change an answer below, run `hrmr build`, then `hrmr reload`: the next request gets the new one.
 */
#include <hrmr/abi.h>

/* The host's function table. A module calls nothing of the host by name: it gets this table in
 * load and keeps it, since it lives until the module is unloaded. */
static const hrmr_host* host;

/* Answers every line that begins with HELLO. `bytes` is the whole line, without its line end;
 * `rest` is what follows the registered prefix: empty, or " bob". */
static int hello(const hrmr_request* request, hrmr_reply* reply, void* context) {
  (void)context; /* what the route below was registered with: nothing */

  hrmr_bytes name = request->rest;
  while (name.size > 0 && name.data[0] == ' ') {
    name.data += 1;
    name.size -= 1;
  }
  if (name.size == 0) return host->write(reply, HRMR_BYTES("hello from C\n"));

  /* Bytes are copied at once, in order. Whatever is returned instead of HRMR_OK drops the reply,
   * and the client gets an error. */
  int result = host->write(reply, HRMR_BYTES("hello "));
  if (result == HRMR_OK) result = host->write(reply, name);
  if (result == HRMR_OK) result = host->write(reply, HRMR_BYTES("\n"));
  return result;
}

/* Called once per generation, on the reload thread. Here a module says what it answers. */
static int load_hello(hrmr_load* load) {
  const hrmr_route route = {
      .size = sizeof route,
      .prefix = HRMR_BYTES("HELLO"),
      .framing = HRMR_FRAMING_LINE,
      .run = HRMR_RUN_INLINE, /* on the event loop: this takes well under a microsecond */
      .function = hello,
  };
  host = load->host;
  return host->add_route(load, &route);
}

/* The one symbol that a module exports. There is nothing to unload here. */
HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = sizeof(hrmr_module),
    .abi = HRMR_ABI,
    .name = "hello",
    .version = "1.0",
    .load = load_hello,
};
