#include "wire/reply_writer.h"

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <utility>

using namespace hrmr;
using namespace hrmr::wire;

namespace {

constexpr std::string_view kPlain = "Content-Type: text/plain; charset=utf-8\r\n";

ReplyFacts http_facts() {
  ReplyFacts facts;
  facts.framing = Framing::kHttp;
  return facts;
}

// An earlier reply is still unsent in front of the one under test.
struct Reply {
  explicit Reply(const ReplyFacts& facts) : out(filled()), writer(out, facts) {}

  static Output filled() {
    Output buffer;
    buffer.append("before");
    return buffer;
  }
  // All that is sent, head and body.
  std::string finish() {
    writer.finish();
    const std::string all(out.view());
    CHECK(all.substr(0, 6) == "before");
    return all.substr(6);
  }

  Output out;
  ReplyWriter writer;
};

std::string head(std::string_view status_line, std::string_view headers, size_t length) {
  std::string text(status_line);
  text.append("\r\n").append(headers);
  text.append("Content-Length: ").append(std::to_string(length)).append("\r\n\r\n");
  return text;
}

}  // namespace

TEST_CASE("a body gets status, type and length") {
  Reply reply(http_facts());
  CHECK(reply.writer.write("hello") == WriteResult::kOk);
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 5) + "hello");
  CHECK_FALSE(reply.writer.closes());
}

TEST_CASE("nothing written is an empty body") {
  Reply reply(http_facts());
  CHECK(reply.writer.write("") == WriteResult::kOk);
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 0));
}

TEST_CASE("a length with more digits than guessed moves the body up") {
  for (const size_t total : {9u, 10u, 11u, 99u, 100u, 12345u, 1000000u}) {
    Reply reply(http_facts());
    CHECK(reply.writer.write("a") == WriteResult::kOk);
    const std::string rest = std::string(total - 2, 'b') + "c";
    CHECK(reply.writer.write(rest) == WriteResult::kOk);
    CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, total) + "a" + rest);
  }
}

TEST_CASE("a length with fewer digits than reserved moves the body down") {
  Reply reply(http_facts());
  char* room = reply.writer.reserve(100000);
  REQUIRE(room != nullptr);
  std::memcpy(room, "abc", 3);
  CHECK(reply.writer.commit(3) == WriteResult::kOk);
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 3) + "abc");
}

TEST_CASE("reserved room that is not committed is no body") {
  Reply reply(http_facts());
  REQUIRE(reply.writer.reserve(100) != nullptr);
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 0));
}

TEST_CASE("no more is committed than was reserved, and only once") {
  Reply reply(http_facts());
  CHECK(reply.writer.commit(1) == WriteResult::kBadArgument);
  char* room = reply.writer.reserve(4);
  REQUIRE(room != nullptr);
  CHECK(reply.writer.commit(5) == WriteResult::kBadArgument);
  std::memcpy(room, "abcd", 4);
  CHECK(reply.writer.commit(4) == WriteResult::kOk);
  CHECK(reply.writer.commit(1) == WriteResult::kBadArgument);
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 4) + "abcd");
}

TEST_CASE("status and headers come in front in any order") {
  for (const bool is_status_first : {true, false}) {
    Reply reply(http_facts());
    if (is_status_first) CHECK(reply.writer.set_status(404) == WriteResult::kOk);
    CHECK(reply.writer.add_header("content-type", "text/html") == WriteResult::kOk);
    CHECK(reply.writer.add_header("X-a", "\tb \xc3\xa9") == WriteResult::kOk);
    if (!is_status_first) CHECK(reply.writer.set_status(404) == WriteResult::kOk);
    CHECK(reply.writer.write("gone") == WriteResult::kOk);
    const char* headers = "Content-Type: text/html\r\nX-A: \tb \xc3\xa9\r\n";
    CHECK(reply.finish() == head("HTTP/1.1 404 Not Found", headers, 4) + "gone");
  }
}

TEST_CASE("a status may change until the body begins, to longer and to shorter phrases") {
  Reply reply(http_facts());
  CHECK(reply.writer.add_header("A", "b") == WriteResult::kOk);
  CHECK(reply.writer.set_status(511) == WriteResult::kOk);
  CHECK(reply.writer.set_status(431) == WriteResult::kOk);
  CHECK(reply.writer.set_status(302) == WriteResult::kOk);
  CHECK(reply.writer.add_header("C", "d") == WriteResult::kOk);
  const std::string headers = "A: b\r\nC: d\r\n" + std::string(kPlain);
  CHECK(reply.finish() == head("HTTP/1.1 302 Found", headers, 0));
}

TEST_CASE("statuses out of range are refused") {
  Reply reply(http_facts());
  for (const int status : {-1, 0, 100, 199, 600, 65736}) {
    CHECK(reply.writer.set_status(status) == WriteResult::kBadArgument);
  }
  CHECK(reply.writer.set_status(599) == WriteResult::kOk);
  CHECK(reply.finish() == head("HTTP/1.1 599 Unknown", kPlain, 0));
}

TEST_CASE("names are sent in Title-Case") {
  Reply reply(http_facts());
  CHECK(reply.writer.add_header("x-request-id", "1") == WriteResult::kOk);
  CHECK(reply.writer.add_header("ETag", "2") == WriteResult::kOk);
  CHECK(reply.finish().find("\r\nX-Request-Id: 1\r\nETag: 2\r\n") != std::string::npos);
}

TEST_CASE("headers cannot be injected") {
  Reply reply(http_facts());
  using namespace std::string_view_literals;
  for (const std::string_view value : {"a\r\nB: c"sv, "a\nb"sv, "a\rb"sv, "a\0b"sv, "a\x7f"sv}) {
    CHECK(reply.writer.add_header("A", value) == WriteResult::kBadArgument);
  }
  for (const std::string_view name : {""sv, "A B"sv, "A:"sv, "A\r\n"sv, "A\0"sv, "\xc3\xa9"sv}) {
    CHECK(reply.writer.add_header(name, "b") == WriteResult::kBadArgument);
  }
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 0));
}

TEST_CASE("the host's own headers are refused") {
  Reply reply(http_facts());
  for (const char* name : {"Content-Length", "transfer-encoding", "CONNECTION", "Date"}) {
    CHECK(reply.writer.add_header(name, "1") == WriteResult::kBadArgument);
  }
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 0));
}

TEST_CASE("status and headers are too late behind the first byte of the body") {
  Reply reply(http_facts());
  CHECK(reply.writer.write("a") == WriteResult::kOk);
  CHECK(reply.writer.set_status(404) == WriteResult::kTooLate);
  CHECK(reply.writer.add_header("A", "b") == WriteResult::kTooLate);
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 1) + "a");
}

TEST_CASE("nothing is written behind finish") {
  Reply reply(http_facts());
  const std::string sent = reply.finish();
  CHECK(reply.writer.write("a") == WriteResult::kTooLate);
  CHECK(reply.writer.reserve(1) == nullptr);
  reply.writer.fail(500, "late");
  CHECK(reply.out.view() == "before" + sent);
}

TEST_CASE("HEAD counts the body and does not send it") {
  ReplyFacts facts = http_facts();
  facts.head_only = true;
  Reply reply(facts);
  CHECK(reply.writer.write("hello") == WriteResult::kOk);
  char* room = reply.writer.reserve(10);
  REQUIRE(room != nullptr);
  std::memset(room, 'x', 10);
  CHECK(reply.writer.commit(7) == WriteResult::kOk);
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 12));
}

TEST_CASE("204 and 304 have neither body nor length") {
  for (const int status : {204, 304}) {
    Reply reply(http_facts());
    CHECK(reply.writer.set_status(status) == WriteResult::kOk);
    CHECK(reply.writer.write("dropped") == WriteResult::kOk);
    const std::string phrase(reason_phrase(status));
    CHECK(reply.finish() == "HTTP/1.1 " + std::to_string(status) + " " + phrase + "\r\n\r\n");
  }
}

TEST_CASE("205 says that its body is empty") {
  Reply reply(http_facts());
  CHECK(reply.writer.set_status(205) == WriteResult::kOk);
  CHECK(reply.writer.write("dropped") == WriteResult::kOk);
  CHECK(reply.finish() == head("HTTP/1.1 205 Reset Content", kPlain, 0));
}

TEST_CASE("Date and Connection are said where they say something") {
  ReplyFacts facts = http_facts();
  facts.date = "Sun, 06 Nov 1994 08:49:37 GMT";
  const std::string date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
  const std::string plain(kPlain);
  SUBCASE("an HTTP/1.1 connection stays without a word") {
    CHECK(Reply(facts).finish() == head("HTTP/1.1 200 OK", plain + date, 0));
  }
  SUBCASE("an HTTP/1.1 connection that closes") {
    facts.keep_alive = false;
    Reply reply(facts);
    CHECK(reply.finish() == head("HTTP/1.1 200 OK", plain + date + "Connection: close\r\n", 0));
    CHECK(reply.writer.closes());
  }
  SUBCASE("an HTTP/1.0 connection that stays") {
    facts.http_minor = 0;
    CHECK(Reply(facts).finish() ==
          head("HTTP/1.1 200 OK", plain + date + "Connection: keep-alive\r\n", 0));
  }
}

TEST_CASE("close before the body is said in the head") {
  Reply reply(http_facts());
  reply.writer.close_after();
  CHECK(reply.writer.write("a") == WriteResult::kOk);
  const std::string headers = std::string(kPlain) + "Connection: close\r\n";
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", headers, 1) + "a");
  CHECK(reply.writer.closes());
}

TEST_CASE("close behind the head only closes") {
  Reply reply(http_facts());
  CHECK(reply.writer.write("a") == WriteResult::kOk);
  reply.writer.close_after();
  CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 1) + "a");
  CHECK(reply.writer.closes());
}

TEST_CASE("a reply is bounded, from both sides") {
  for (const bool is_head_only : {false, true}) {
    ReplyFacts facts = http_facts();
    facts.bytes_max = 8;
    facts.head_only = is_head_only;
    Reply reply(facts);
    CHECK(reply.writer.reserve(9) == nullptr);
    CHECK(reply.writer.write("12345") == WriteResult::kOk);
    CHECK(reply.writer.write("6789") == WriteResult::kTooLarge);
    CHECK(reply.writer.reserve(4) == nullptr);
    CHECK(reply.writer.reserve(SIZE_MAX) == nullptr);
    CHECK(reply.writer.write("678") == WriteResult::kOk);
    CHECK(reply.writer.write("9") == WriteResult::kTooLarge);
    const std::string body = is_head_only ? "" : "12345678";
    CHECK(reply.finish() == head("HTTP/1.1 200 OK", kPlain, 8) + body);
  }
}

TEST_CASE("headers are bounded") {
  ReplyFacts facts = http_facts();
  facts.bytes_max = 100;
  Reply reply(facts);
  CHECK(reply.writer.add_header("A", std::string(101, 'b')) == WriteResult::kTooLarge);
  CHECK(reply.writer.add_header("A", std::string(60, 'b')) == WriteResult::kOk);
  CHECK(reply.writer.add_header("A", std::string(60, 'b')) == WriteResult::kTooLarge);
}

TEST_CASE("fail replaces all that was written") {
  Reply reply(http_facts());
  CHECK(reply.writer.set_status(201) == WriteResult::kOk);
  CHECK(reply.writer.add_header("Content-Type", "text/html") == WriteResult::kOk);
  CHECK(reply.writer.write(std::string(1000, 'a')) == WriteResult::kOk);
  reply.writer.fail(404, "no such user");
  CHECK(reply.writer.has_failed());
  CHECK(reply.writer.write("more") == WriteResult::kTooLate);
  CHECK(reply.writer.commit(0) == WriteResult::kTooLate);
  CHECK(reply.writer.set_status(200) == WriteResult::kTooLate);
  CHECK(reply.writer.add_header("A", "b") == WriteResult::kTooLate);
  CHECK(reply.finish() == head("HTTP/1.1 404 Not Found", kPlain, 13) + "no such user\n");
}

TEST_CASE("the last failure counts") {
  Reply reply(http_facts());
  reply.writer.fail(404, "first");
  reply.writer.fail(500, "second");
  CHECK(reply.finish() == head("HTTP/1.1 500 Internal Server Error", kPlain, 7) + "second\n");
}

TEST_CASE("fail says when to come again") {
  Reply reply(http_facts());
  reply.writer.fail(503, "reloading", 2);
  const std::string headers = "Retry-After: 2\r\n" + std::string(kPlain);
  CHECK(reply.finish() == head("HTTP/1.1 503 Service Unavailable", headers, 10) + "reloading\n");
}

TEST_CASE("fail keeps to HEAD, to the range of errors and to what close said") {
  ReplyFacts facts = http_facts();
  facts.head_only = true;
  Reply reply(facts);
  reply.writer.close_after();
  reply.writer.fail(200, "");
  const std::string headers = std::string(kPlain) + "Connection: close\r\n";
  CHECK(reply.finish() == head("HTTP/1.1 500 Internal Server Error", headers, 22));
  CHECK(reply.writer.closes());
}

TEST_CASE("in line and raw framing the body is the reply") {
  for (const Framing framing : {Framing::kLine, Framing::kRaw}) {
    ReplyFacts facts;
    facts.framing = framing;
    Reply reply(facts);
    CHECK(reply.writer.set_status(404) == WriteResult::kOk);
    CHECK(reply.writer.set_status(7) == WriteResult::kOk);
    CHECK(reply.writer.write("hello ") == WriteResult::kOk);
    CHECK(reply.writer.add_header("Date", "\n") == WriteResult::kOk);
    char* room = reply.writer.reserve(8);
    REQUIRE(room != nullptr);
    std::memcpy(room, "world\n", 6);
    CHECK(reply.writer.commit(6) == WriteResult::kOk);
    CHECK(reply.finish() == "hello world\n");
  }
}

TEST_CASE("in line and raw framing an empty reply is no byte") {
  Reply reply(ReplyFacts{});
  CHECK(reply.finish().empty());
}

TEST_CASE("a failed line is one line") {
  Reply reply(ReplyFacts{});
  CHECK(reply.writer.write("partial answer") == WriteResult::kOk);
  reply.writer.fail(500, "first\r\nsecond\nthird");
  CHECK(reply.writer.write("more") == WriteResult::kTooLate);
  CHECK(reply.finish() == "ERR first  second third\n");
}

TEST_CASE("a line that finds no room says 503") {
  ReplyFacts facts;
  facts.framing = Framing::kRaw;
  Reply reply(facts);
  reply.writer.fail(503, "busy", 1);
  CHECK(reply.finish() == "503 busy\n");
}

TEST_CASE("an abandoned reply leaves no byte and takes none") {
  for (const ReplyFacts& facts : {ReplyFacts{}, http_facts()}) {
    Reply reply(facts);
    CHECK(reply.writer.add_header("A", "b") == WriteResult::kOk);
    CHECK(reply.writer.write("begun") == WriteResult::kOk);
    reply.writer.abandon();
    CHECK(reply.writer.write("more") == WriteResult::kTooLate);
    CHECK(reply.writer.reserve(4) == nullptr);
    CHECK(reply.writer.set_status(404) == WriteResult::kTooLate);
    reply.writer.fail(500, "failed");
    CHECK(reply.finish().empty());
  }
}

TEST_CASE("files count in the length, whatever its digits, and not in what is held in memory") {
  for (const uint64_t bytes : {uint64_t{1}, uint64_t{99}, uint64_t{1} << 40}) {
    ReplyFacts facts = http_facts();
    facts.bytes_max = 2;
    Reply reply(facts);
    FileRange range;
    range.left = bytes;
    CHECK(reply.writer.write("a") == WriteResult::kOk);
    CHECK(reply.writer.send_file(std::move(range)) == WriteResult::kOk);
    CHECK(reply.writer.write("b") == WriteResult::kOk);
    CHECK(reply.writer.write("c") == WriteResult::kTooLarge);
    const std::string whole = head("HTTP/1.1 200 OK", kPlain, bytes + 2);
    CHECK(reply.finish() == whole + "ab");
    // The file is between them, although the head has grown since.
    CHECK(reply.out.bytes_ready() == std::string("before").size() + whole.size() + 1);
  }
}

TEST_CASE("files are dropped with what else was written, and those of earlier replies are not") {
  Output out;
  FileRange earlier;
  earlier.left = 1;
  out.add_file(std::move(earlier));
  for (const bool is_abandoned : {false, true}) {
    ReplyWriter writer(out, http_facts());
    FileRange range;
    range.left = 10;
    CHECK(writer.send_file(std::move(range)) == WriteResult::kOk);
    CHECK(out.file_count() == 2);
    if (is_abandoned) {
      writer.abandon();
    } else {
      writer.fail(500, "failed");
      writer.finish();
      CHECK(out.view() == head("HTTP/1.1 500 Internal Server Error", kPlain, 7) + "failed\n");
    }
    CHECK(out.file_count() == 1);
  }
}

TEST_CASE("the files of a reply are bounded, in number and in sum") {
  Reply reply(http_facts());
  FileRange huge;
  huge.left = INT64_MAX;
  CHECK(reply.writer.send_file(std::move(huge)) == WriteResult::kOk);
  FileRange one;
  one.left = 1;
  CHECK(reply.writer.send_file(std::move(one)) == WriteResult::kTooLarge);
  Reply second(http_facts());
  for (size_t i = 0; i <= limits::kReplyFilesMax; ++i) {
    FileRange range;
    range.left = 1;
    const bool fits = i < limits::kReplyFilesMax;
    CHECK(second.writer.send_file(std::move(range)) ==
          (fits ? WriteResult::kOk : WriteResult::kTooLarge));
  }
}
