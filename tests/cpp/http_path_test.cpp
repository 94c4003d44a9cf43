// Targets to paths and back, and the walk below a folder (module_src/http/path.h, file.h).
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "http/file.h"
#include "http/path.h"

namespace {

namespace fs = std::filesystem;
using http::Path;
using http::PathKind;

std::string decoded(std::string_view target, PathKind expected) {
  Path path;
  CHECK(http::decode_path(target, path) == expected);
  CHECK(path.c_str() == std::string(path.view()));
  return std::string(path.view());
}

}  // namespace

TEST_CASE("decodes a target once, without empty segments, and tells a folder from a file") {
  CHECK(decoded("/", PathKind::kFolder).empty());
  CHECK(decoded("///", PathKind::kFolder).empty());
  CHECK(decoded("/a", PathKind::kFile) == "a");
  CHECK(decoded("/a/", PathKind::kFolder) == "a");
  CHECK(decoded("//a//b", PathKind::kFile) == "a/b");
  CHECK(decoded("/a%20b+c", PathKind::kFile) == "a b+c");
  CHECK(decoded("/%2541", PathKind::kFile) == "%41");
  CHECK(decoded("/%C3%BC/%c3%bc", PathKind::kFile) == "\xc3\xbc/\xc3\xbc");
  CHECK(decoded("/%21%7E%80%FF", PathKind::kFile) == "!~\x80\xff");
  CHECK(decoded("http://host/a", PathKind::kFile) == "a");
  CHECK(decoded("HTTPS://host:1/a/", PathKind::kFolder) == "a");
  CHECK(decoded("http://host", PathKind::kFolder).empty());
  CHECK(decoded("/.well-known/x", PathKind::kFile) == ".well-known/x");
}

TEST_CASE("refuses what could be read as something else than a name") {
  for (const std::string_view target :
       {"",      "a",    "*",       "host:1",  "ftp://h/a", "/.",     "/..",
        "/a/..", "/%2e", "/%2e%2E", "/.%2e/a", "/a%2fb",    "/a%5Cb", "/a\\b",
        "/%00",  "/%1f", "/%7f",    "/%0a",    "/%",        "/%2",    "/%g0",
        "/%0g",  "/%-1", "/% 1",    "/%u0041", "/\x01",     "/\x7f"}) {
    CAPTURE(target);
    decoded(target, PathKind::kMalformed);
  }
  for (const std::string_view target : {"/.a", "/%2ea", "/a/.b", "/a/.b/c", "/...", "/..a",
                                        "/.well-known/.a", "/a/.well-known/b", "/.a/"}) {
    CAPTURE(target);
    decoded(target, PathKind::kHidden);
  }
}

TEST_CASE("a path as long as the kernel takes is one, and with one byte more is not") {
  const std::string longest(http::kPathBytesMax, 'x');
  CHECK(decoded("/" + longest, PathKind::kFile) == longest);
  CHECK(decoded("/" + longest + "/", PathKind::kFolder) == longest);
  decoded("/" + longest + "x", PathKind::kTooLong);
  decoded("/" + longest + "/x", PathKind::kTooLong);
  // A name that is cut to "." for want of room is no such name.
  decoded("/" + longest.substr(2) + "/.b", PathKind::kTooLong);
  decoded("/" + longest + "x/..", PathKind::kMalformed);
  decoded("/" + longest + "x/%zz", PathKind::kMalformed);
  decoded("/" + longest + "/" + longest + "/../a", PathKind::kMalformed);
  Path path;
  CHECK(path.append(longest));
  CHECK_FALSE(path.append('y'));
  CHECK_FALSE(path.append("y"));
  CHECK(path.append(""));
  path.truncate(1);
  CHECK(path.append("yz"));
  CHECK(path.view() == "xyz");
}

TEST_CASE("escapes in a location all that is not plainly part of a name") {
  CHECK(http::encode_path("a/b-._~9Z") == "a/b-._~9Z");
  CHECK(http::encode_path(" \"<>?#%\r\n\\\x80\xff") == "%20%22%3C%3E%3F%23%25%0D%0A%5C%80%FF");
  for (int byte = 0x20; byte < 0x100; ++byte) {
    const std::string name{'n', static_cast<char>(byte)};
    if (byte == 0x7f || byte == '\\' || byte == '/') continue;
    CHECK(decoded("/" + http::encode_path(name), PathKind::kFile) == name);
  }
}

TEST_CASE("the walk to a file stays below its folder") {
  std::string pattern = (fs::temp_directory_path() / "hrmr-walk-XXXXXX").string();
  REQUIRE(::mkdtemp(pattern.data()) != nullptr);
  const fs::path top = pattern;
  fs::create_directories(top / "site/in");
  std::ofstream(top / "site/in/a.txt") << "a";
  std::ofstream(top / "out.txt") << "out";
  fs::create_symlink("in/a.txt", top / "site/link");
  fs::create_symlink("../out.txt", top / "site/way_out");
  fs::create_symlink(top / "site/in/a.txt", top / "site/absolute");
  fs::create_symlink("..", top / "site/parent");
  const http::File root(::open((top / "site").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(root.is_open());
  const auto opens = [&root](const char* path) {
    const http::File file(http::open_beneath(root.fd(), path));
    return file.is_open();
  };
  CHECK(opens("in/a.txt"));
  CHECK(opens("link"));
  CHECK(opens("."));
  for (const char* path : {"way_out", "absolute", "parent/out.txt", "../out.txt", "/etc/passwd",
                           "in/../../out.txt", "nothing", "in/a.txt/b"}) {
    CAPTURE(path);
    CHECK_FALSE(opens(path));
  }
  fs::remove_all(top);
}

TEST_CASE("a file that changed just now is not settled; an older one, or one of the future, is") {
  constexpr int64_t kSecond = 1'000'000'000;
  constexpr int64_t kNow = 1'700'000'000 * kSecond + 7;
  const auto settled = [](int64_t modified_ns, int64_t changed_ns) {
    http::Identity identity;
    identity.modified_ns = modified_ns;
    identity.changed_ns = changed_ns;
    return http::is_settled(identity, kNow);
  };
  CHECK(settled(kNow - kSecond, kNow - kSecond));
  CHECK_FALSE(settled(kNow, kNow));
  CHECK_FALSE(settled(kNow - 50'000'000, kNow - kSecond));
  CHECK(settled(kNow - 50'000'001, kNow - kSecond));
  CHECK_FALSE(settled(kNow - kSecond, kNow - 1));
  CHECK(settled(kNow + kSecond, kNow - kSecond));
  CHECK_FALSE(settled(kNow + 1, kNow - kSecond));
  // A file system that keeps whole seconds.
  const int64_t whole = kNow - kNow % kSecond;
  CHECK_FALSE(settled(whole - 2 * kSecond, whole - 2 * kSecond));
  CHECK(settled(whole - 3 * kSecond, whole - 3 * kSecond));
}
