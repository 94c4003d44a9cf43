// Fault: contains a copy of SQLite instead of using the system's; here only a name of it. With
// HIDDEN the copy exports nothing, as a careful static build has it.
#include <hrmr/abi.h>

#ifdef HIDDEN
#define VISIBILITY "hidden"
#else
#define VISIBILITY "default"
#endif

__attribute__((visibility(VISIBILITY))) const char* sqlite3_libversion(void);
const char* sqlite3_libversion(void) { return "3.0.0"; }

static int load(hrmr_load* call) { return sqlite3_libversion() == 0 || call == 0; }

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "own_sqlite",
                                                .version = "1",
                                                .load = load};
