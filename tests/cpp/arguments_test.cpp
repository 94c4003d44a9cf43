#include "wire/arguments.h"

#include <doctest/doctest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

using namespace hrmr::wire;

namespace {

// In an allocation of exactly that size, so that the address sanitizer sees a read past its end.
struct Exact {
  explicit Exact(std::string_view text) : bytes(new char[text.size()]), size(text.size()) {
    if (size != 0) std::memcpy(bytes.get(), text.data(), size);
  }
  std::string_view view() const { return {bytes.get(), size}; }
  std::unique_ptr<char[]> bytes;
  size_t size;
};

std::string joined(const std::vector<Text>& arguments) {
  std::string text;
  for (const std::string_view each : arguments) text.append("[").append(each).append("]");
  return text;
}

std::string split(std::string_view line) {
  const Exact exact(line);
  if (!is_balanced(exact.view())) return "unbalanced";
  std::vector<Text> out;
  read_line_arguments(exact.view(), out);
  return joined(out);
}

std::string json(std::string_view body, size_t elements_max = 100) {
  const Exact exact(body);
  std::vector<Text> out;
  const std::string_view wrong = read_json_arguments(exact.view(), elements_max, out);
  return wrong.empty() ? joined(out) : std::string(wrong);
}

}  // namespace

TEST_CASE("a line is split as Redis splits it") {
  CHECK(split("") == "");
  CHECK(split("  \t ") == "");
  CHECK(split("PING") == "[PING]");
  CHECK(split("  a  b\tc ") == "[a][b][c]");
  CHECK(split("set \"a b\" 'c d'") == "[set][a b][c d]");
  CHECK(split(R"("\x41\xfF\n\r\t\b\a\\\"\q")") == "[A\xff\n\r\t\b\a\\\"q]");
  CHECK(split(R"("\xZZ")") == "[xZZ]");
  CHECK(split(R"('it\'s' '\n')") == "[it's][\\n]");
  CHECK(split("a\"b\"") == "[ab]");
  CHECK(split("\"\" ''") == "[][]");
  CHECK(split("\v\fa\vb\fc \v d") == "[a\vb\fc][d]");
  CHECK(split("'a'\vb") == "[a][b]");
  CHECK(split(std::string_view("a\0b", 3)) == "[a]");
}

TEST_CASE("a line whose quotes do not match is told apart") {
  for (const char* line : {"\"", "'", "\"a", "'a", "\"a\"b", "'a'b", "set \"\"\"k\"\"\" v", "a'b",
                           R"("\")", R"('\')", R"("\x4)"}) {
    CAPTURE(line);
    CHECK(split(line) == "unbalanced");
  }
}

TEST_CASE("the first word is what names a command") {
  CHECK(first_word("PING a") == "PING");
  CHECK(first_word("  PING") == "PING");
  CHECK(first_word("PING\t") == "PING");
  CHECK(first_word("") == "");
}

TEST_CASE("the first word is read as it is meant, as far as there is room") {
  char room[8];
  CHECK(first_word("PING a", room) == "PING");
  CHECK(first_word(R"("PI\x4eG" a)", room) == "PING");
  CHECK(first_word(R"( 'ping')", room) == "ping");
  CHECK(first_word("P\"ING\"", room) == "PING");
  CHECK(first_word("\"\" a", room) == "");
  CHECK(first_word("", room) == "");
  CHECK(first_word("\"PING", room) == "PING");  // unbalanced; the caller asks that apart
  CHECK(first_word("12345678", room) == "12345678");
  CHECK(first_word("123456789", room) == "12345678");
}

TEST_CASE("a JSON list of strings, numbers and booleans becomes arguments") {
  CHECK(json("") == "");
  CHECK(json(" \r\n\t") == "");
  CHECK(json("[]") == "");
  CHECK(json(" [ ] ") == "");
  CHECK(json(R"(["users","42"])") == "[users][42]");
  CHECK(json(R"([1,-2.50,1e9,0,0.5E-3,true,false])") == "[1][-2.50][1e9][0][0.5E-3][true][false]");
  CHECK(json(R"(["\"\\\/\b\f\n\r\t"])") == "[\"\\/\b\f\n\r\t]");
  CHECK(json(R"(["\u0041\u00e9\u20ac\ud83d\ude00"])") == "[A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80]");
  CHECK(json("[\"\\u0000\"]") == "[" + std::string(1, '\0') + "]");
  CHECK(json("[\"\xc3\xa9\"]") == "[\xc3\xa9]");
}

TEST_CASE("a JSON list of more arguments than there may be is refused, and not read to its end") {
  const std::string_view refused = "more arguments than max_arguments (--max-arguments) allows";
  CHECK(json("[1,2,3]", 3) == "[1][2][3]");
  CHECK(json("[1,2,3,4]", 3) == refused);
  CHECK(json("[1,2,3,", 3) == refused);
  CHECK(json("[]", 0) == "");
  CHECK(json("[1]", 0) == refused);
}

TEST_CASE("what is no such list is refused, with the reason") {
  for (const char* body : {"{}", "null", "\"a\"", "1", "x"}) {
    CAPTURE(body);
    CHECK(json(body) == "the body must be a JSON list");
  }
  for (const char* body : {"[null]", "[[]]", "[{}]", "[tru]", "[,]", "[1,]", "[+1]", "[.5]"}) {
    CAPTURE(body);
    CHECK(json(body) == "arguments are JSON strings, numbers, true or false");
  }
  for (const char* body : {"[01]", "[1.]", "[-]", "[1e]", "[1e+]", "[-x]"}) {
    CAPTURE(body);
    CHECK(json(body) == "a JSON number is malformed");
  }
  for (const char* body : {R"(["\x"])", R"(["\u12"])", R"(["\ud800"])", R"(["\ud800\u0041"])",
                           R"(["\udc00"])", R"(["\uzzzz"])", "[\"\\"}) {
    CAPTURE(body);
    CHECK(json(body) == "a JSON string has a malformed escape");
  }
  CHECK(json("[") == "the JSON list has no end");
  CHECK(json("[1") == "the JSON list has no end");
  CHECK(json("[1,") == "the JSON list has no end");
  CHECK(json("[1 2]") == "the JSON list lacks a comma");
  CHECK(json("[truex]") == "the JSON list lacks a comma");
  CHECK(json("[] x") == "something follows the JSON list");
  CHECK(json("[\"a") == "a JSON string has no end");
  CHECK(json("[\"a\nb\"]") == "a JSON string has a control byte");
  for (const char* body : {"[\"\xff\"]", "[\"\xc0\x80\"]", "[\"\xed\xa0\x80\"]", "[\"\xe2\x82\"]",
                           "[\"\xf4\x90\x80\x80\"]"}) {
    CAPTURE(body);
    CHECK(json(body) == "a JSON string is not UTF-8");
  }
}
