// Fault: a C++ exception leaves unload, which the ABI forbids.
#include <hrmr/abi.h>

#include <stdexcept>

static int load(hrmr_load*) { return HRMR_OK; }
static void unload(void*) { throw std::runtime_error("thrown by unload"); }

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    sizeof(hrmr_module), HRMR_ABI, "unload_throws", "1", load, unload};
