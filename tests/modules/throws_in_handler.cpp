// Fault: its handler throws. module.hpp makes that an error reply.
#include <hrmr/module.hpp>
#include <stdexcept>

static void throw_it(const hrmr::Request&, hrmr::Reply& reply) {
  reply.write("half an answer");
  throw std::runtime_error("thrown by a handler");
}

static void load(hrmr::Module& module) {
  module.route("THROW", throw_it);
  module.route("GET /throw", throw_it);
}

HRMR_MODULE("throws_in_handler", "1", load)
