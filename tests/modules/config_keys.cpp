// No fault: says which keys its configuration has. One that it has not said ends its load there.
#include <hrmr/module.hpp>

static void load(hrmr::Module& module) {
  module.config_keys({"title", "db.path"});
  module.route("TITLE", [](const hrmr::Request&, hrmr::Reply& reply) { reply.write("title\n"); });
}

HRMR_MODULE("config_keys", "1.0", load)
