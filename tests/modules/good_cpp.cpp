// No fault: C++ through module.hpp, with a state, its configuration and two kinds of handlers.
#include <hrmr/module.hpp>
#include <string>

namespace {

struct Greeting {
  std::string text;
  ~Greeting() { hrmr::log(HRMR_WARNING, "greeting deleted"); }
};

void greet(const hrmr::Request& request, hrmr::Reply& reply, Greeting& greeting) {
  reply.write(greeting.text).write(request.rest());
}

void plain(const hrmr::Request&, hrmr::Reply& reply) { reply.write("plain"); }

Greeting* load(hrmr::Module& module) {
  auto* greeting = new Greeting{std::string(module.config("greeting", "hello"))};
  module.route("GREET", greet, *greeting);
  module.route("GET /plain", plain, hrmr::kPool);
  return greeting;
}

}  // namespace

HRMR_MODULE("good_cpp", "2.5", load)
