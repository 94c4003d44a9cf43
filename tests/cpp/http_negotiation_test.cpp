// Codings, content types and settings of the http module (module_src/http/encoding.h,
// content_types.h, settings.h).
#include <doctest/doctest.h>

#include <string>

#include "http/content_types.h"
#include "http/encoding.h"
#include "http/settings.h"

namespace {

// "br gzip identity": what is accepted, the best first.
std::string accepted(std::string_view field) {
  const http::Accepted accepted = http::parse_accept_encoding(field);
  std::string text;
  for (size_t i = 0; i < accepted.count; ++i) {
    const std::string_view name = http::name_of(accepted.order[i]);
    text.append(text.empty() ? "" : " ").append(name.empty() ? "identity" : name);
  }
  return text;
}

template <class Call>
std::string refusal_of(const Call& call) {
  try {
    call();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "taken";
}

}  // namespace

TEST_CASE("the codings that a client accepts, in the order of its liking") {
  CHECK(accepted({}) == "identity");
  CHECK(accepted("") == "identity");
  CHECK(accepted("gzip, deflate, br, zstd") == "br gzip identity");
  CHECK(accepted("gzip") == "gzip identity");
  CHECK(accepted("x-gzip") == "gzip identity");
  CHECK(accepted("GZIP;Q=1") == "gzip identity");
  CHECK(accepted("br;q=0.5, gzip;q=0.8") == "gzip br identity");
  CHECK(accepted("br;q=0.5,gzip;q=0.501") == "gzip br identity");
  CHECK(accepted("gzip;q=0.001") == "gzip identity");
  CHECK(accepted("gzip;q=0.0005") == "identity");  // four digits are no weight
  CHECK(accepted("gzip;q=0") == "identity");
  CHECK(accepted("gzip;q=0.000, br") == "br identity");
  CHECK(accepted("identity, gzip;q=0.5") == "identity gzip");
  CHECK(accepted("identity;q=0.5, gzip;q=0.5") == "gzip identity");
  CHECK(accepted("*") == "br gzip identity");
  CHECK(accepted("*;q=0.1, gzip") == "gzip br identity");
  CHECK(accepted("gzip, *;q=0") == "gzip");
  CHECK(accepted("*;q=0").empty());
  CHECK(accepted("identity;q=0").empty());
  CHECK(accepted("identity;q=0, br") == "br");
  CHECK(accepted("identity, *;q=0") == "identity");
  CHECK(accepted("deflate") == "identity");
  CHECK(accepted(" gzip\t;\tq=0.7 ,, br ; q=0.9 ") == "br gzip identity");
  CHECK(accepted("gzip;q=2") == "identity");
  CHECK(accepted("gzip;q=1.001") == "identity");
  CHECK(accepted("gzip;q=1.000") == "gzip identity");
  CHECK(accepted("gzip;q=") == "identity");
  CHECK(accepted("gzip;level=9") == "identity");
  CHECK(accepted("gzip;q=0, gzip") == "identity");  // said first
}

TEST_CASE("what is accepted in another order is another key") {
  std::string keys;
  for (const std::string_view field :
       {"", "br", "gzip", "br, gzip", "br;q=0.5, gzip", "identity, br;q=0.5", "identity;q=0",
        "identity;q=0, br", "identity;q=0, gzip", "identity;q=0, gzip, br"}) {
    const auto key = static_cast<char>(http::parse_accept_encoding(field).key());
    CAPTURE(field);
    CHECK(keys.find(key) == std::string::npos);
    keys += key;
  }
}

TEST_CASE("knows the type of a name by its last suffix, in any case") {
  CHECK(http::content_type_of("index.html") == "text/html; charset=utf-8");
  CHECK(http::content_type_of("a/b.c/UPPER.JPEG") == "image/jpeg");
  CHECK(http::content_type_of("archive.tar.gz") == "application/gzip");
  CHECK(http::content_type_of("page.mjs") == "text/javascript; charset=utf-8");
  CHECK(http::content_type_of("a.wasm") == "application/wasm");
  CHECK(http::content_type_of("a.json") == "application/json");
  CHECK(http::content_type_of("a.svg") == "image/svg+xml");
  CHECK(http::content_type_of("a.woff2") == "font/woff2");
  CHECK(http::content_type_of("a.webmanifest") == "application/manifest+json");
  CHECK(http::content_type_of("a.3gp") == "video/3gpp");
  CHECK(http::content_type_of("a.zst") == "application/zstd");
  for (const std::string_view name :
       {"", "html", "a.", "a.php", "a.unheard-of", "a.html ", "a.htmlx", "a.ht", "a.html/b",
        "a.12345678901234567", ".", "a.\xff"}) {
    CAPTURE(name);
    CHECK(http::content_type_of(name) == "application/octet-stream");
  }
  for (const http::ContentType& known : http::kContentTypes) {
    CAPTURE(known.suffix);
    CHECK(http::content_type_of("name." + std::string(known.suffix)) == known.type);
    CHECK(known.type.find('/') != std::string_view::npos);
    CHECK((known.type.substr(0, 5) != "text/" ||
           known.type.find("; charset=utf-8") != std::string_view::npos));
  }
}

TEST_CASE("reads sizes, numbers and switches, and says what they may be") {
  CHECK(http::parse_size("k", "0", 10) == 0);
  CHECK(http::parse_size("k", "10", 10) == 10);
  CHECK(http::parse_size("k", "64K", 1 << 20) == 65536);
  CHECK(http::parse_size("k", "1m", 1 << 20) == 1 << 20);
  CHECK(http::parse_size("k", "3G", http::kCacheBytesMax) == uint64_t{3} << 30);
  for (const char* text :
       {"", "K", "11", "-1", "1.5", "1 K", "1KB", "0x10", "99999999999999999999"}) {
    CAPTURE(text);
    CHECK(refusal_of([&] { http::parse_size("cache_bytes", text, 10); }) ==
          "[modules.http] cache_bytes = \"" + std::string(text) +
              "\": must be 0 to 10 bytes, such as 4096, \"64K\" or \"32M\"");
  }
  CHECK(refusal_of([] { http::parse_size("k", "18014398509481984K", UINT64_MAX); }) != "taken");
  CHECK(http::parse_number("k", "0", 10) == 0);
  CHECK(http::parse_number("k", "10", 10) == 10);
  for (const char* text : {"", "11", "-1", "1.5", "ten", "1000000000000000000000"}) {
    CAPTURE(text);
    CHECK(refusal_of([&] { http::parse_number("check_ms", text, 10); }) ==
          "[modules.http] check_ms = \"" + std::string(text) +
              "\": must be a whole number, 0 to 10");
  }
  CHECK(http::parse_switch("k", "true"));
  CHECK_FALSE(http::parse_switch("k", "false"));
  CHECK(refusal_of([] { http::parse_switch("precompressed", "yes"); }) ==
        "[modules.http] precompressed = \"yes\": must be true or false");
  CHECK(http::parse_header_value("k", "public, max-age=60") == "public, max-age=60");
  CHECK(http::parse_header_value("k", "").empty());
  CHECK(refusal_of([] { http::parse_header_value("k", "a\r\nb"); }) != "taken");
  CHECK(refusal_of([] { http::parse_header_value("k", "\x7f"); }) != "taken");
}

TEST_CASE("reads the names of indexes") {
  CHECK(http::parse_index("index", "index.html") == "index.html");
  std::string names;
  const std::string list = http::parse_index("index", "  a.html  b.htm ");
  std::string_view rest = list;
  for (std::string_view name = http::take_name(rest); !name.empty(); name = http::take_name(rest))
    names += "[" + std::string(name) + "]";
  CHECK(names == "[a.html][b.htm]");
  for (const char* text : {"", "  ", "a/b", "..", "a .", "/", "1 2 3 4 5 6 7 8 9"}) {
    CAPTURE(text);
    CHECK(refusal_of([&] { http::parse_index("index", text); }) != "taken");
  }
  CHECK(refusal_of([] { http::parse_index("index", "1 2 3 4 5 6 7 8"); }) == "taken");
}
