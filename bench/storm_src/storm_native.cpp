// The native modules of the storm (bench/storm.py), compiled once for each NAME (storm_inline,
// storm_pool) and VERSION ('A', 'B'). An answer is all of one version: its letter comes from the
// code, and the letters at its end from memory of that generation's state.
//
//     ROUTE SERIAL FILL PAYLOAD              or POST /ROUTE/SERIAL/FILL with PAYLOAD as its body
//     ROUTE VERSION SERIAL PAYLOAD VVVV...   FILL times the version, and a line feed
#include <charconv>
#include <hrmr/module.hpp>
#include <memory>
#include <string>
#include <string_view>

namespace {

constexpr size_t kFillBytesMax = 64 * 1024;

struct Edition {
  std::string fill = std::string(kFillBytesMax, VERSION);
};

// Up to `end`, which is taken away too, or all of it.
std::string_view take(std::string_view& text, char end) {
  const std::string_view taken = text.substr(0, text.find(end));
  text.remove_prefix(taken.size() == text.size() ? taken.size() : taken.size() + 1);
  return taken;
}

void answer(const hrmr::Request& request, hrmr::Reply& reply, Edition& edition) {
  const bool is_http = request.framing() == hrmr::kHttp;
  const char end = is_http ? '/' : ' ';
  std::string_view rest = is_http ? request.path().substr(sizeof HTTP_PATH - 1) : request.rest();
  const std::string_view serial = take(rest, end);
  const std::string_view digits = take(rest, end);
  size_t fill_bytes = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), fill_bytes);
  const char letter = VERSION;
  reply.write(WORD).write({&letter, 1}).write(" ").write(serial).write(" ");
  reply.write(is_http ? request.body() : rest).write(" ");
  reply.write(std::string_view(edition.fill).substr(0, fill_bytes)).write("\n");
}

std::unique_ptr<Edition> load(hrmr::Module& module) {
  auto edition = std::make_unique<Edition>();
  module.route(WORD, answer, *edition, RUN);
  module.route("GET " HTTP_PATH, answer, *edition, RUN);
  module.route("POST " HTTP_PATH, answer, *edition, RUN);
  return edition;
}

}  // namespace

HRMR_MODULE(NAME, "1.0", load)
