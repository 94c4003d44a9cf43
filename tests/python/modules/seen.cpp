// seen: takes every request of one framing (SEEN_FRAMING) and answers with what it was given, bytes
// as hexadecimal digits.
#include <hrmr/module.hpp>
#include <string>

namespace {

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += {kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return text;
}

void answer_http(const hrmr::Request& request, hrmr::Reply& reply) {
  // In headers, because the answer to a HEAD has no body.
  reply.header("X-Method", request.method());
  reply.header("X-Target", hex(request.target()));
  reply.header("X-Minor", std::to_string(request.raw()->http_minor));
  reply.write("body ").write(hex(request.body())).write("\n");
  reply.write("bytes ").write(hex(request.bytes())).write("\n");
  for (size_t i = 0; i < request.raw()->header_count; ++i) {
    const hrmr_header& header = request.raw()->headers[i];
    const std::string_view name(header.name.data, header.name.size);
    const std::string_view value(header.value.data, header.value.size);
    reply.write("header ").write(hex(name)).write(" ").write(hex(value)).write("\n");
  }
}

void answer_bytes(const hrmr::Request& request, hrmr::Reply& reply) {
  reply.write("seen ").write(hex(request.bytes())).write("\n");
}

void load(hrmr::Module& module) {
  const auto framing = static_cast<hrmr::Framing>(SEEN_FRAMING);
  const auto handler = framing == hrmr::kHttp ? answer_http : answer_bytes;
  for (int byte = 0; byte < 256; ++byte) {
    const char prefix = static_cast<char>(byte);
    const bool is_line_end = prefix == '\n' || prefix == '\r';
    if (is_line_end && framing != hrmr::kRaw) continue;
    module.route({&prefix, 1}, handler, hrmr::kInline, framing);
  }
}

}  // namespace

HRMR_MODULE("seen", "1.0", load)
