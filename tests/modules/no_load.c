// Fault: has no load function.
#include <hrmr/abi.h>

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    .size = sizeof(hrmr_module), .abi = HRMR_ABI, .name = "no_load", .version = "1", .load = NULL};
