// The C++ functions that bench/run.py measures: the least that a handler can do, inline and on the
// pool.
#include <hrmr/command.hpp>
#include <hrmr/module.hpp>

static void hello(const hrmr::Request&, hrmr::Reply& reply) { reply.write("hello, world\n"); }

static void pong(const hrmr::Call&, hrmr::Answer& answer) { answer.simple("PONG"); }

static void load(hrmr::Module& module) {
  module.route("GET /inline", hello);
  module.route("GET /pool", hello, hrmr::kPool);
  module.route("INLINE", hello);
  module.route("POOL", hello, hrmr::kPool);
  hrmr::command(module, {"INLINE.PING", 0, 0}, pong);
  hrmr::command(module, {"POOL.PING", 0, 0, hrmr::kPool}, pong);
}

HRMR_MODULE("bench_native", "1.0", load)
