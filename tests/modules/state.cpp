// No fault: hands a text over. SCHEMA: what it writes; it reads no other. SAVE_THROWS: it cannot.
#include <hrmr/module.hpp>
#include <memory>
#include <stdexcept>
#include <string>

#ifndef SCHEMA
#define SCHEMA 1
#endif

namespace {

struct Text {
  std::string text;
  void save(hrmr::Save& save) const {
#ifdef SAVE_THROWS
    throw std::runtime_error("nothing to write to");
#endif
    save.schema(SCHEMA).write(text).write("+");
  }
};

void show(const hrmr::Request&, hrmr::Reply& reply, Text& state) { reply.write(state.text); }

std::unique_ptr<Text> load(hrmr::Module& module) {
  auto state = std::make_unique<Text>();
  state->text = "generation " + std::to_string(module.generation());
  if (const hrmr::Previous before = module.previous()) {
    if (before.schema != SCHEMA) {
      throw std::runtime_error("schema " + std::to_string(before.schema) + " is unknown");
    }
    state->text = before.bytes;
  }
  module.route("STATE", show, *state);
  return state;
}

}  // namespace

HRMR_MODULE("state", "1", load)
