// The C++ functions that bench/run.py measures: the least that a handler can do, inline and on the
// pool.
#include <hrmr/module.hpp>

static void hello(const hrmr::Request&, hrmr::Reply& reply) { reply.write("hello, world\n"); }

static void load(hrmr::Module& module) {
  module.route("GET /inline", hello);
  module.route("GET /pool", hello, hrmr::kPool);
  module.route("INLINE", hello);
  module.route("POOL", hello, hrmr::kPool);
}

HRMR_MODULE("bench_native", "1.0", load)
