#include "wire/first_line.h"

#include <doctest/doctest.h>

#include <string>

using namespace hrmr;
using namespace hrmr::wire;

namespace {

constexpr size_t kMax = 64;

Opening opening(std::string_view input, bool at_end = false) {
  return classify_opening(input, at_end, kMax);
}

}  // namespace

TEST_CASE("awaits the whole first line") {
  const std::string line = "GET / HTTP/1.1\r\n";
  for (size_t size = 0; size < line.size(); ++size) {
    CHECK(opening(line.substr(0, size)) == Opening::kNeedMore);
  }
  CHECK(opening(line) == Opening::kHttp);
}

TEST_CASE("a half-close ends the first line") {
  CHECK(opening("RELOAD") == Opening::kNeedMore);
  CHECK(opening("RELOAD", true) == Opening::kLine);
  CHECK(opening("GET / HTTP/1.1", true) == Opening::kHttp);
  CHECK(opening("", true) == Opening::kNeedMore);
}

TEST_CASE("a line that ends in a version is http") {
  CHECK(opening("GET / HTTP/1.1\n") == Opening::kHttp);
  CHECK(opening("GET / HTTP/9.9\r\n") == Opening::kHttp);
  CHECK(opening("anything at all HTTP/1.0\r\nHost: a\r\n") == Opening::kHttp);
  CHECK(opening("ECHO HTTP/1.1\r\n") == Opening::kHttp);
}

TEST_CASE("a token and a path look like http") {
  CHECK(opening("GET /\r\n") == Opening::kHttpLike);
  CHECK(opening("get /x y z\n") == Opening::kHttpLike);
  CHECK(opening("GET / HTTP/1.1 \r\n") == Opening::kHttpLike);
  CHECK(opening("GET / http/1.1\r\n") == Opening::kHttpLike);
  CHECK(opening("GET / HTTP/1.10\r\n") == Opening::kHttpLike);
}

TEST_CASE("anything else is a line") {
  for (const char* line : {"RELOAD\n", "GET\n", "GET  /\n", " GET /\n", "G(T /\n", "ECHO a /b\n",
                           "HTTP/1.1\n", "xHTTP/1.1\n", "KV.GET users 42\r\n", "\n", "a\tb\rc\n",
                           "caf\xc3\xa9\n", "GET http://a/\n"}) {
    CAPTURE(line);
    CHECK(opening(line) == Opening::kLine);
  }
}

TEST_CASE("only the first line is looked at") {
  CHECK(opening("PING\nGET / HTTP/1.1\r\n") == Opening::kLine);
  CHECK(opening(std::string_view("PING\n\0\x01", 7)) == Opening::kLine);
}

TEST_CASE("a TLS hello is foreign at its first byte") {
  CHECK(opening("\x16") == Opening::kForeign);
  CHECK(opening("\x16\x03\x01") == Opening::kForeign);
}

TEST_CASE("control bytes are told as soon as they are seen") {
  for (const char bad : {'\0', '\x01', '\x08', '\x0b', '\x1b', '\x1f', '\x7f'}) {
    for (size_t at = 0; at < 20; ++at) {
      std::string input(20, 'a');
      input[at] = bad;
      CAPTURE(at);
      CHECK(opening(input) == Opening::kBinary);
    }
  }
}

TEST_CASE("an HTTP/2 preface is foreign") {
  CHECK(opening("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == Opening::kForeign);
  CHECK(opening("PRI * HTTP/2.0") == Opening::kNeedMore);
  CHECK(opening("PRI * HTTP/1.1\r\n") == Opening::kHttp);
}

TEST_CASE("a first line is bounded with its line end") {
  const std::string fits(kMax - 1, 'a');
  CHECK(opening(fits) == Opening::kNeedMore);
  CHECK(opening(fits + "\n") == Opening::kLine);
  CHECK(opening(fits + "a") == Opening::kTooLong);
  CHECK(opening(fits + "a\n") == Opening::kTooLong);
  CHECK(opening(fits + "a", true) == Opening::kTooLong);
  const std::string target = "GET /" + std::string(kMax, 'a');
  CHECK(opening(target) == Opening::kHttpLike);
  CHECK(opening(target + " HTTP/1.1\r\n") == Opening::kHttpLike);
  CHECK(opening("GET" + std::string(kMax, 'a') + " /") == Opening::kTooLong);
}

TEST_CASE("empty lines in front are counted in bytes") {
  CHECK(leading_empty_lines("") == 0);
  CHECK(leading_empty_lines("a\n") == 0);
  CHECK(leading_empty_lines("\n\r\n\na") == 4);
  CHECK(leading_empty_lines("\r\n\r") == 2);
  CHECK(leading_empty_lines("\r\ra") == 0);
  CHECK(leading_empty_lines(" \n") == 0);
}

TEST_CASE("the first line comes without its line end") {
  CHECK(first_line("PING\r\nX\n") == "PING");
  CHECK(first_line("PING\nX\n") == "PING");
  CHECK(first_line("PING\r\r\n") == "PING\r");
  CHECK(first_line("PING") == "PING");
  CHECK(first_line("PING\r") == "PING");
  CHECK(first_line("\n") == "");
  CHECK(first_line("") == "");
}

TEST_CASE("what a browser begins with may be HTTP, whole or not") {
  for (const char* begin :
       {"POST /", "POST /a?b", "GET / HTTP/1.1\r\nHost: a\r\n\r\nbody",
        "GET http://a/ HTTP/1.1\r\n", "X / HTTP/1.1", "PRI * HTTP/2.0\r\n", "SET /a b"}) {
    CAPTURE(begin);
    CHECK(may_be_http(begin));
  }
  for (const char* begin : {"", "POST", "POST ", "RAW!x", "SET a /b",
                            "GET a\r\nPOST / HTTP/1.1\r\n", "\r\nPOST / HTTP/1.1", " POST /"}) {
    CAPTURE(begin);
    CHECK_FALSE(may_be_http(begin));
  }
}
