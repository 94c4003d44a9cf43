// Fault: calls abort, in a function within namespaces; by ABORT on the pool.
#include <cstdlib>
#include <hrmr/module.hpp>

namespace stock {
namespace {

[[gnu::noinline]] void give_up(const hrmr::Request& request) {
  if (!request.bytes().empty()) std::abort();
}

}  // namespace

void crash(const hrmr::Request& request, hrmr::Reply& reply) {
  give_up(request);
  reply.write("survived\n");
}

}  // namespace stock

static void load(hrmr::Module& module) { module.route("ABORT", stock::crash, hrmr::kPool); }

HRMR_MODULE("crash_abort", "1.0", load)
