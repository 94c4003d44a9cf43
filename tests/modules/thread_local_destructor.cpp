// Fault: a thread_local with a destructor, touched by a thread that lives on after the unload.
#include <hrmr/abi.h>

#include <string>

static thread_local std::string scratch;

static int load(hrmr_load*) {
  scratch.assign(100, 'x');
  return HRMR_OK;
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    sizeof(hrmr_module), HRMR_ABI, "thread_local_destructor", "1", load, nullptr};
