// probe: one route for each way in which a function can answer. Compiled and asked by the tests.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <hrmr/module.hpp>
#include <stdexcept>
#include <string>

namespace {

void answer_with(const char* how, const hrmr::Request& request, hrmr::Reply& reply) {
  reply.write(how).write(request.rest());
  if (!request.body().empty()) reply.write(" ").write(request.body());
  reply.write("\n");
}

void answer_inline(const hrmr::Request& request, hrmr::Reply& reply) {
  if (request.framing() != hrmr::kHttp) return answer_with("inline ", request, reply);
  reply.write("inline ").write(request.target()).write("\n");
}

void answer_pool(const hrmr::Request& request, hrmr::Reply& reply) {
  if (request.framing() != hrmr::kHttp) return answer_with("pool ", request, reply);
  reply.write("pool ").write(request.target()).write("\n");
}

// BIG 1000: 1000 times 'x' and a line feed.
void answer_big(const hrmr::Request& request, hrmr::Reply& reply) {
  const std::string digits(request.rest().substr(0, request.rest().find(' ')));
  const size_t size = std::strtoul(digits.c_str(), nullptr, 10);
  char* room = reply.reserve(size + 1);
  if (room == nullptr) return;
  std::memset(room, 'x', size);
  room[size] = '\n';
  reply.commit(size + 1);
}

void answer_body(const hrmr::Request& request, hrmr::Reply& reply) { reply.write(request.body()); }

void fail(const hrmr::Request&, hrmr::Reply& reply) {
  reply.write("dropped").fail(400, "told to fail");
}

void throw_error(const hrmr::Request&, hrmr::Reply& reply) {
  reply.write("dropped");
  throw std::runtime_error("told to throw");
}

// BLOCK path: waits until the FIFO at `path` was opened by a writer and closed again.
void block(const hrmr::Request& request, hrmr::Reply& reply) {
  const std::string path(request.framing() == hrmr::kHttp ? request.query() : request.rest());
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw std::runtime_error("cannot open " + path);
  char byte;
  while (::read(fd, &byte, 1) > 0) continue;
  ::close(fd);
  reply.write("unblocked\n");
}

void close_after(const hrmr::Request&, hrmr::Reply& reply) { reply.write("bye\n").close(); }

void load(hrmr::Module& module) {
  module.route("INLINE ", answer_inline);
  module.route("POOL ", answer_pool, hrmr::kPool);
  module.route("BIG ", answer_big);
  module.route("BIGPOOL ", answer_big, hrmr::kPool);
  module.route("FAIL ", fail);
  module.route("FAILPOOL ", fail, hrmr::kPool);
  module.route("THROW ", throw_error);
  module.route("THROWPOOL ", throw_error, hrmr::kPool);
  module.route("BLOCK ", block, hrmr::kPool);
  module.route("BYE ", close_after);
  module.route("BYEPOOL ", close_after, hrmr::kPool);
  module.route("GET /inline", answer_inline);
  module.route("HEAD /inline", answer_inline);
  module.route("GET /pool", answer_pool, hrmr::kPool);
  module.route("POST /body", answer_body);
  module.route("POST /bodypool", answer_body, hrmr::kPool);
  module.route("GET /fail", fail);
  module.route("GET /throw", throw_error, hrmr::kPool);
  module.route("GET /block", block, hrmr::kPool);
}

}  // namespace

HRMR_MODULE("probe", "1.0", load)
