// No fault: values of every kind: VALUE KIND gives what Redis gives to DEBUG PROTOCOL KIND, in the
// same form, and a few more. It is called DEBUG too, for clients that ask as they would ask Redis.
#include <hrmr/command.hpp>
#include <string_view>

namespace {

using namespace std::string_view_literals;

void give(std::string_view kind, hrmr::Answer& answer) {
  if (kind == "null") {
    answer.nil();
  } else if (kind == "true" || kind == "false") {
    answer.boolean(kind == "true");
  } else if (kind == "integer") {
    answer.integer(12345);
  } else if (kind == "double") {
    answer.number(3.141);
  } else if (kind == "string") {
    answer.text("Hello World");
  } else if (kind == "bytes") {
    answer.text("\0\xff\r\n"sv);
  } else if (kind == "list") {
    answer.list(3).integer(1).text("a").list(1).text("b");
  } else if (kind == "map") {
    answer.map(3).integer(0).boolean(false).integer(1).boolean(true).integer(2).boolean(false);
  } else if (kind == "set") {
    answer.set(3).integer(0).integer(1).integer(2);
  } else if (kind == "verbatim") {
    answer.verbatim("txt", "This is a verbatim\nstring");
  } else {
    answer.error("SHOP", "closed for today");
  }
}

void value(const hrmr::Call& call, hrmr::Answer& answer) { give(call[0], answer); }
void debug(const hrmr::Call& call, hrmr::Answer& answer) { give(call[1], answer); }

void load(hrmr::Module& module) {
  hrmr::command(module, {"VALUE", 1, 1}, value);
  hrmr::command(module, {"DEBUG", 2, 2}, debug);
}

}  // namespace

HRMR_MODULE("values", "1.0", load)
