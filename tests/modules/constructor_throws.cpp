// Fault: the constructor of a static object throws, while the library is being mapped.
#include <hrmr/module.hpp>
#include <stdexcept>

namespace {

struct Table {
  Table() { throw std::runtime_error("no table"); }
};

const Table table;

void load(hrmr::Module& module) {
  module.route("X", [](const hrmr::Request&, hrmr::Reply&) {});
}

}  // namespace

HRMR_MODULE("constructor_throws", "1", load)
