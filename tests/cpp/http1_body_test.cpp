#include "wire/http1_body.h"

#include <doctest/doctest.h>

#include <string>

using namespace hrmr;
using namespace hrmr::wire;

TEST_CASE("chunks are put together behind what is in front of them") {
  std::string input = "HEAD3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nNEXT";
  ChunkedDecoder decoder;
  decoder.begin(4, 100);
  CHECK(decoder.advance(input.data(), input.size(), false) == Verdict::kGood);
  CHECK(input.substr(0, decoder.decoded_end()) == "HEADabcde");
  CHECK(input.substr(decoder.consumed()) == "NEXT");
}

TEST_CASE("bytes of an unfinished chunk are moved as they come") {
  std::string input = "5\r\nab";
  ChunkedDecoder decoder;
  decoder.begin(0, 100);
  CHECK(decoder.advance(input.data(), input.size(), false) == Verdict::kIncomplete);
  CHECK(decoder.decoded_end() == 2);
  CHECK(input.substr(0, 2) == "ab");
  input += "cde\r\n0\r\n\r\n";
  CHECK(decoder.advance(input.data(), input.size(), false) == Verdict::kGood);
  CHECK(input.substr(0, decoder.decoded_end()) == "abcde");
}

TEST_CASE("a decoder that begins again has forgotten the body before") {
  ChunkedDecoder decoder;
  std::string first = "4\r\nab";
  decoder.begin(0, 4);
  CHECK(decoder.advance(first.data(), first.size(), false) == Verdict::kIncomplete);
  std::string second = "4\r\nabcd\r\n0\r\n\r\n";
  decoder.begin(0, 4);
  CHECK(decoder.advance(second.data(), second.size(), false) == Verdict::kGood);
  CHECK(decoder.decoded_end() == 4);
}
