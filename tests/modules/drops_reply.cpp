// Fault: it lets go of deferred replies without an answer, in each way that C++ has for that.
#include <hrmr/module.hpp>
#include <stdexcept>
#include <utility>
#include <vector>

namespace {

void forget(const hrmr::Request&, hrmr::Reply& reply) { (void)reply.defer(); }

void throw_behind(const hrmr::Request&, hrmr::Reply& reply) {
  const hrmr::Deferred deferred = reply.defer();
  throw std::runtime_error("thrown behind a defer");
}

void assign_over(const hrmr::Request&, hrmr::Reply& reply) {
  hrmr::Deferred kept = reply.defer();
  kept.write("never seen");
  kept = hrmr::Deferred(nullptr);
}

// Only its state's destructor lets go of these.
struct Hoard {
  std::vector<hrmr::Deferred> replies;
};

void hoard(const hrmr::Request&, hrmr::Reply& reply, Hoard& hoard) {
  hoard.replies.push_back(reply.defer());
}

Hoard* load(hrmr::Module& module) {
  auto* state = new Hoard;
  module.route("FORGET", forget);
  module.route("FORGETPOOL", forget, hrmr::kPool);
  module.route("THROW", throw_behind);
  module.route("ASSIGN", assign_over);
  module.route("HOARD", hoard, *state);
  return state;
}

}  // namespace

HRMR_MODULE("drops_reply", "1", load)
