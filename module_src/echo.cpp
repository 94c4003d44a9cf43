// echo: sends back what it is sent, as a line and over HTTP.
//
//     $ printf 'ECHO ping\nCLOSE\n' | nc 127.0.0.1 8080
//     ping
//     $ curl --data 'ping' http://127.0.0.1:8080/echo
//     ping
#include <hrmr/module.hpp>

static void echo_line(const hrmr::Request& request, hrmr::Reply& reply) {
  reply.write(request.rest()).write("\n");
}

static void echo_body(const hrmr::Request& request, hrmr::Reply& reply) {
  // A route is a prefix of bytes, so "POST /echoes" comes here too. The path decides.
  if (request.path() != "/echo") {
    reply.fail(404, "nothing here: POST to /echo");
    return;
  }
  const std::string_view type = request.header("Content-Type");
  reply.header("Content-Type", type.empty() ? "application/octet-stream" : type);
  // A browser must not find a type of its own in what some client sent.
  reply.header("X-Content-Type-Options", "nosniff");
  reply.write(request.body());
}

static void load(hrmr::Module& module) {
  module.route("ECHO ", echo_line);
  module.route("POST /echo", echo_body);
}

HRMR_MODULE("echo", "1.0", load)
