// The answers of the bundled http module: HEAD, conditions, ranges, codings, methods, and its
// cache.
#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "http_module.h"

namespace {

using namespace hrmr::test::http_module;

constexpr time_t kOld = 1'700'000'000;  // of every file: see make_old
constexpr const char* kOldDate = "Tue, 14 Nov 2023 22:13:20 GMT";

void check_head_is_like_get(std::string_view target, const Headers& headers = {}) {
  CAPTURE(target);
  const Answer get = http().get(target, headers);
  const Answer head = http().ask("HEAD", target, headers);
  CHECK(head.status == get.status);
  CHECK(head.headers == get.headers);
  CHECK(head.body.size() == get.body.size());
}

void write_old(const fs::path& path, std::string_view content, time_t second = kOld) {
  write_file(path, content);
  make_old(path, second);
}

}  // namespace

TEST_CASE("http: answers HEAD with the headers of GET") {
  for (const std::string_view target :
       {"/", "/docs/readme.txt", "/large.txt", "/empty.css", "/nothing", "/docs", "/%zz"})
    check_head_is_like_get(target);
  check_head_is_like_get("/docs/readme.txt", {{"If-None-Match", "*"}});
  check_head_is_like_get("/docs/readme.txt", {{"If-Match", "\"a\""}});
  // Section 14.2: a range is for GET only.
  CHECK(http().ask("HEAD", "/docs/readme.txt", {{"Range", "bytes=0-1"}}).status == 200);
}

TEST_CASE("http: says what RFC 9110 wants said of a file") {
  const Answer answer = http().get("/docs/readme.txt");
  CHECK(answer.header("Last-Modified") == kOldDate);
  CHECK(answer.header("Accept-Ranges") == "bytes");
  CHECK(answer.header("Cache-Control") == "no-cache");
  CHECK(answer.header("X-Content-Type-Options") == "nosniff");
  CHECK(answer.header("Vary").empty());
  CHECK(answer.header("Content-Encoding").empty());
  const std::string tag = answer.header("ETag");
  CHECK(tag.front() == '"');
  CHECK(http().get("/docs/readme.txt").header("ETag") == tag);
  CHECK(http().get("/link_in.txt").header("ETag") == tag);  // the same file
  CHECK(http().get("/index.html").header("ETag") != tag);
}

TEST_CASE("http: a date of the future is not sent") {
  write_old(site() / "future.txt", "soon", 4'000'000'000);
  const std::string date = http().get("/future.txt").header("Last-Modified");
  CHECK(date.size() == 29);
  CHECK(date.find("2096") == std::string::npos);
}

TEST_CASE("http: a file that changed just now has a weak tag and is not cached") {
  write_file(site() / "fresh.txt", "fresh");
  const HttpModule loaded(Headers{});
  const Answer answer = loaded.get("/fresh.txt");
  CHECK(answer.header("ETag").substr(0, 2) == "W/");
  CHECK_FALSE(loaded.is_cached("/fresh.txt"));
}

TEST_CASE("http: answers conditions in the order of RFC 9110") {
  const std::string tag = http().get("/docs/readme.txt").header("ETag");
  const auto status = [](const Headers& headers) {
    return http().get("/docs/readme.txt", headers).status;
  };
  const Answer unchanged = http().get("/docs/readme.txt", {{"if-none-match", tag}});
  CHECK(unchanged.status == 304);
  CHECK(unchanged.body.empty());
  CHECK(unchanged.header("ETag") == tag);
  CHECK(unchanged.header("Cache-Control") == "no-cache");
  CHECK(unchanged.header("Content-Type").empty());
  CHECK(status({{"If-None-Match", "W/" + tag}}) == 304);
  CHECK(status({{"If-None-Match", "\"x\""}, {"If-None-Match", tag}}) ==
        304);  // two lines, one list
  CHECK(status({{"If-None-Match", "\"x\""}, {"If-Modified-Since", kOldDate}}) == 200);
  CHECK(status({{"If-Modified-Since", kOldDate}}) == 304);
  CHECK(status({{"If-Modified-Since", "Tue, 14 Nov 2023 22:13:19 GMT"}}) == 200);
  CHECK(status({{"If-Modified-Since", kOldDate}, {"If-Modified-Since", kOldDate}}) == 200);
  CHECK(status({{"If-Match", tag}}) == 200);
  CHECK(status({{"If-Match", "W/" + tag}}) == 412);
  CHECK(status({{"If-Match", "\"x\""}, {"If-None-Match", tag}}) == 412);
  CHECK(status({{"If-Unmodified-Since", kOldDate}}) == 200);
  CHECK(status({{"If-Unmodified-Since", "Tue, 14 Nov 2023 22:13:19 GMT"}}) == 412);
  CHECK(http().get("/nothing", {{"If-Match", "*"}}).status == 404);
}

TEST_CASE("http: sends one range, from memory and from the disk") {
  struct Case {
    std::string_view target;
    std::string whole;
  };
  for (const Case& each : {Case{"/docs/readme.txt", "read me"},
                           Case{"/large.txt", std::string(100'000, 'x') + "end"}}) {
    const size_t size = each.whole.size();
    CAPTURE(each.target);
    const auto get = [&](const std::string& range, const Headers& more = {}) {
      Headers headers{{"Range", range}};
      headers.insert(headers.end(), more.begin(), more.end());
      return http().get(each.target, headers);
    };
    const Answer tail = get("bytes=-3");
    CHECK(tail.status == 206);
    CHECK(tail.body == each.whole.substr(size - 3));
    CHECK(tail.header("Content-Range") == "bytes " + std::to_string(size - 3) + "-" +
                                              std::to_string(size - 1) + "/" +
                                              std::to_string(size));
    CHECK(tail.header("Content-Type") == "text/plain; charset=utf-8");
    CHECK(tail.header("ETag") == http().get(each.target).header("ETag"));
    CHECK(get("bytes=0-0").body == each.whole.substr(0, 1));
    CHECK(get("bytes=0-").body == each.whole);
    CHECK(get("bytes=0-").status == 206);
    CHECK(get("bytes=2-1").status == 200);
    CHECK(get("lines=2-1").status == 200);

    const Answer beyond = get("bytes=" + std::to_string(size) + "-");
    CHECK(beyond.status == 416);
    CHECK(beyond.header("Content-Range") == "bytes */" + std::to_string(size));

    const std::string tag = tail.header("ETag");
    CHECK(get("bytes=0-0", {{"If-Range", tag}}).status == 206);
    CHECK(get("bytes=0-0", {{"If-Range", kOldDate}}).status == 206);
    CHECK(get("bytes=0-0", {{"If-Range", "W/" + tag}}).status == 200);
    CHECK(get("bytes=0-0", {{"If-Range", "\"x\""}}).status == 200);
    CHECK(get("bytes=999999999-", {{"If-Range", "\"x\""}}).status == 200);
    CHECK(get("bytes=0-0", {{"If-None-Match", tag}}).status == 304);
    CHECK(get("bytes=0-0", {{"If-Match", "\"x\""}}).status == 412);
    CHECK(get("bytes=0-0", {{"Range", "bytes=0-0"}}).status == 200);
  }
  CHECK(http().get("/empty.css", {{"Range", "bytes=0-"}}).status == 416);
  CHECK(http().get("/empty.css", {{"Range", "bytes=-1"}}).status == 200);
}

TEST_CASE("http: sends several ranges as one multipart body") {
  const Answer answer = http().get("/large.txt", {{"Range", "bytes=0-1,50000-50001,-3"}});
  REQUIRE(answer.status == 206);
  CHECK(answer.header("Content-Range").empty());
  const std::string type = answer.header("Content-Type");
  const std::string start = "multipart/byteranges; boundary=";
  REQUIRE(type.substr(0, start.size()) == start);
  const std::string boundary = "--" + type.substr(start.size());
  const std::string part_type =
      "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes ";
  CHECK(answer.body == boundary + part_type + "0-1/100003\r\n\r\nxx\r\n" + boundary + part_type +
                           "50000-50001/100003\r\n\r\nxx\r\n" + boundary + part_type +
                           "100000-100002/100003\r\n\r\nend\r\n" + boundary + "--\r\n");
  const Answer again = http().get("/large.txt", {{"Range", "bytes=0-1,50000-50001,-3"}});
  CHECK(again.header("Content-Type") != type);  // nobody can foresee it
  // What nearly touches is one range, and one range is no multipart.
  const Answer merged = http().get("/large.txt", {{"Range", "bytes=0-1,100-101"}});
  CHECK(merged.header("Content-Range") == "bytes 0-101/100003");
}

TEST_CASE("http: sends the sibling that the client likes best") {
  write_old(site() / "page.html", "plain page");
  write_old(site() / "page.html.br", "brotli");
  write_old(site() / "page.html.gz", "gzip!");
  const auto get = [](const char* accepted) {
    return http().get("/page.html", {{"Accept-Encoding", accepted}});
  };
  const Answer plain = http().get("/page.html");
  CHECK(plain.body == "plain page");
  CHECK(plain.header("Vary") == "Accept-Encoding");
  CHECK(plain.header("Content-Encoding").empty());
  const Answer best = get("gzip, deflate, br");
  CHECK(best.body == "brotli");
  CHECK(best.header("Content-Encoding") == "br");
  CHECK(best.header("Content-Type") == "text/html; charset=utf-8");
  CHECK(best.header("Vary") == "Accept-Encoding");
  CHECK(best.header("ETag") != plain.header("ETag"));
  CHECK(get("gzip").body == "gzip!");
  CHECK(get("br;q=0.1, gzip;q=0.2").header("Content-Encoding") == "gzip");
  CHECK(get("identity").body == "plain page");
  CHECK(get("deflate").body == "plain page");
  CHECK(get("identity;q=0, deflate").status == 406);
  CHECK(get("identity;q=0, deflate").header("Vary") == "Accept-Encoding");
  CHECK(
      http().get("/page.html.br", {{"Accept-Encoding", "br"}}).header("Content-Encoding").empty());
  // A range is one of the coded bytes; a tag is that of the coding.
  const Headers ranged{{"Accept-Encoding", "br"}, {"Range", "bytes=1-2"}};
  CHECK(http().get("/page.html", ranged).body == "ro");
  const Headers known{{"Accept-Encoding", "gzip"}, {"If-None-Match", best.header("ETag")}};
  CHECK(http().get("/page.html", known).status == 200);

  const HttpModule without(Headers{{"precompressed", "false"}});
  const Answer ignored = without.get("/page.html", {{"Accept-Encoding", "br"}});
  CHECK(ignored.body == "plain page");
  CHECK(ignored.header("Vary").empty());
}

TEST_CASE("http: a sibling that is older than its file, or leads out of the folder, is not sent") {
  write_old(site() / "edited.css", "new", kOld + 1);
  write_old(site() / "edited.css.gz", "old", kOld);
  const Headers accepts{{"Accept-Encoding", "gzip"}};
  CHECK(http().get("/edited.css", accepts).body == "new");
  write_old(site() / "linked.css", "own");
  fs::create_symlink("../outside/secret.txt", site() / "linked.css.gz");
  CHECK(http().get("/linked.css", accepts).body == "own");
  fs::create_directory(site() / "linked.css.br");
  CHECK(http().get("/linked.css", {{"Accept-Encoding", "br"}}).body == "own");
}

TEST_CASE("http: obeys its settings") {
  write_old(site() / "bare/start.htm", "bare start");
  const HttpModule loaded(
      Headers{{"index", "index.html start.htm"}, {"cache_control", "public, max-age=60"}});
  CHECK(loaded.get("/bare/").body == "bare start");
  CHECK(loaded.get("/docs/").body == "<h1>docs</h1>");
  CHECK(loaded.get("/docs/").header("Cache-Control") == "public, max-age=60");
  CHECK(loaded.get("/nothing").header("Cache-Control") == "no-cache");
  const HttpModule silent(Headers{{"cache_control", ""}});
  CHECK(silent.get("/docs/").header("Cache-Control").empty());
}

TEST_CASE("http: the loop answers what is cached, in every way it can be asked for") {
  const HttpModule loaded(Headers{});
  CHECK_FALSE(loaded.is_cached("/docs/readme.txt"));
  const Answer first = loaded.get("/docs/readme.txt");
  CHECK(loaded.is_cached("/docs/readme.txt"));
  CHECK(loaded.is_cached("//docs///%72eadme.txt?x"));
  CHECK(loaded.is_cached("/docs/readme.txt", {{"Range", "bytes=0-1"}}));
  CHECK(loaded.is_cached("/docs/readme.txt", {{"Accept-Encoding", "deflate"}}));
  CHECK_FALSE(loaded.is_cached("/docs/readme.txt", {{"Accept-Encoding", "gzip"}}));
  const Answer hit = loaded.ask("GET", "/docs/readme.txt", {}, true);
  CHECK(hit.headers == first.headers);
  CHECK(hit.body == "read me");
  // Folders, large files by their descriptor, and, without the disk, what can never be one.
  (void)loaded.get("/docs/");
  CHECK(loaded.is_cached("/docs/"));
  CHECK_FALSE(loaded.is_cached("/docs"));
  (void)loaded.get("/large.txt");
  CHECK(loaded.is_cached("/large.txt"));
  CHECK(loaded.is_cached("/%00"));
  CHECK(loaded.is_cached("/.env"));
  const HttpModule none(Headers{{"cache_entries", "0"}});
  (void)none.get("/docs/readme.txt");
  CHECK_FALSE(none.is_cached("/docs/readme.txt"));
}

TEST_CASE("http: what has changed on the disk is not answered from the cache") {
  const fs::path file = site() / "changing.txt";
  const HttpModule loaded(Headers{});
  const auto cached = [&loaded] { return loaded.is_cached("/changing.txt"); };
  const auto read = [&loaded] { return loaded.get("/changing.txt").body; };
  write_old(file, "one");
  CHECK(read() == "one");
  CHECK(read() == "one");
  write_file(file, "two");  // same size
  CHECK_FALSE(cached());
  CHECK(read() == "two");
  make_old(file);  // same size and time as the first one
  CHECK(read() == "two");
  write_old(site() / "other", "new");
  fs::rename(site() / "other", file);
  CHECK_FALSE(cached());
  CHECK(read() == "new");
  fs::remove(file);
  CHECK_FALSE(cached());
  CHECK(loaded.get("/changing.txt").status == 404);
  fs::create_symlink("../outside/secret.txt", file);
  CHECK(loaded.get("/changing.txt").status == 404);
  fs::remove(file);
  // A folder that comes in the place of a file, and an index that goes.
  fs::create_directory(file);
  CHECK(loaded.get("/changing.txt").status == 301);
  write_old(file / "index.html", "inside");
  CHECK(loaded.get("/changing.txt/").body == "inside");
  fs::remove(file / "index.html");
  CHECK_FALSE(loaded.is_cached("/changing.txt/"));
  CHECK(loaded.get("/changing.txt/").status == 404);
}

TEST_CASE("http: with check_ms the disk is not looked at for that long") {
  const fs::path file = site() / "rarely.txt";
  write_old(file, "one");
  const HttpModule loaded(Headers{{"check_ms", "3600000"}});
  CHECK(loaded.get("/rarely.txt").body == "one");
  write_old(file, "two, longer");
  if (loaded.is_cached("/rarely.txt")) CHECK(loaded.get("/rarely.txt").body == "one");
  const HttpModule at_once(Headers{{"check_ms", "1"}});
  CHECK(at_once.get("/rarely.txt").body == "two, longer");
}
