// Fault: an exception leaves load, after a route was bound to a state; module.hpp refuses the load.
#include <hrmr/module.hpp>
#include <stdexcept>

struct State {};

static void answer(const hrmr::Request&, hrmr::Reply&, State&) {}

static State* load(hrmr::Module& module) {
  static State state;
  module.route("BOUND", answer, state);
  throw std::runtime_error("no such table: users");
}

HRMR_MODULE("load_throws_in_sdk", "1", load)
