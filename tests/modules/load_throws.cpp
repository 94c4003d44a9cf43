// Fault: a C++ exception leaves load, which the ABI forbids.
#include <hrmr/abi.h>

#include <stdexcept>

static int load(hrmr_load*) { throw std::runtime_error("thrown by load"); }

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    sizeof(hrmr_module), HRMR_ABI, "load_throws", "1", load, nullptr};
