// Fault: registers two commands, of which FAULT says what is wrong with the second. It checks what
// add_command returns for it, RESULT, and says in its error when that is another.
//   1: the name of a built-in command    2: no name    3: the name of the first, in small letters
//   4: no function    5: an unknown run    6: fewer arguments at most than at least    7: no size
#include <hrmr/abi.h>

static int answer(const hrmr_call* call, hrmr_reply* reply, void* context) {
  (void)call;
  (void)reply;
  (void)context;
  return HRMR_OK;
}

static int load(hrmr_load* call) {
  hrmr_command command = {.size = sizeof command,
                          .name = HRMR_BYTES("FIRST.ONE"),
                          .arguments_max = HRMR_ANY_NUMBER,
                          .function = answer};
  if (call->host->add_command(call, &command) != HRMR_OK) return HRMR_FAILED;
  command.name = HRMR_BYTES("SECOND.ONE");
#if FAULT == 1
  command.name = HRMR_BYTES("Ping");
#elif FAULT == 2
  command.name = HRMR_BYTES("NO NAME");
#elif FAULT == 3
  command.name = HRMR_BYTES("first.one");
#elif FAULT == 4
  command.function = NULL;
#elif FAULT == 5
  command.run = 99;
#elif FAULT == 6
  command.arguments_min = 2;
  command.arguments_max = 1;
#elif FAULT == 7
  command.size = 0;
#endif
  const int result = call->host->add_command(call, &command);
  if (result != (FAULT == 3 ? HRMR_CONFLICT : HRMR_BAD_ARGUMENT)) {
    return call->host->set_error(call, HRMR_BYTES("add_command returned something else"));
  }
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "bad_command",
                                                .version = "1",
                                                .load = load};
