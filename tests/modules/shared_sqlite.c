// No fault: uses the system's shared SQLite.
#include <hrmr/abi.h>
#include <sqlite3.h>

static int load(hrmr_load* call) {
  sqlite3* database = NULL;
  const int result = sqlite3_open_v2(":memory:", &database, SQLITE_OPEN_READWRITE, NULL);
  sqlite3_close(database);
  if (result == SQLITE_OK) return HRMR_OK;
  return call->host->set_error(call, HRMR_BYTES("SQLite does not open a database in memory"));
}

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {.size = sizeof(hrmr_module),
                                                .abi = HRMR_ABI,
                                                .name = "shared_sqlite",
                                                .version = "1",
                                                .load = load};
