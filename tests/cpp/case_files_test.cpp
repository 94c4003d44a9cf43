// Runs every tests/wire/<framing>/*.case at every cut; tests/wire/README.md describes the format.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "wire/arguments.h"
#include "wire/framer.h"

namespace {

using namespace hrmr;
using namespace hrmr::wire;

// Cases longer than this are cut at some places only: every cut would take minutes.
constexpr size_t kEveryCutBytesMax = 3000;

struct Case {
  std::string name;
  Framing framing = Framing::kLine;
  FrameLimits frame_limits;
  std::string sent;
  bool half_close = false;
  bool may_continue = false;
  std::vector<std::string> expected;
};

// One request with all that the framer said about it, copied.
struct Seen {
  std::string method, target, body, bytes, name, arguments;
  int http_minor = 0;
  bool keep_alive = false;
  bool head_only = false;
  std::vector<std::string> headers;
};

struct Outcome {
  std::vector<Seen> requests;
  std::string reply;  // of a refusal
  std::string reason;
  size_t interims = 0;
  size_t left_bytes = 0;
};

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    REQUIRE(i + 1 < text.size());
    const char kind = text[++i];
    const size_t plain = std::string_view("rnt0\\").find(kind);
    if (plain != std::string_view::npos) {
      out += "\r\n\t\0\\"[plain];
      continue;
    }
    REQUIRE(kind == 'x');
    REQUIRE(i + 2 < text.size());
    out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
    i += 2;
  }
  return out;
}

std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  for (size_t at = 0; at <= line.size();) {
    const size_t space = std::min(line.find(' ', at), line.size());
    words.push_back(line.substr(at, space - at));
    at = space + 1;
  }
  return words;
}

void read_limits(const std::string& line, FrameLimits& frame_limits) {
  for (const std::string& word : words_of(line)) {
    const size_t equals = word.find('=');
    REQUIRE(equals != std::string::npos);
    const std::string key = word.substr(0, equals);
    const size_t value = std::stoul(word.substr(equals + 1));
    if (key == "body") frame_limits.body_bytes_max = value;
    if (key == "head") frame_limits.head_bytes_max = value;
    if (key == "line") frame_limits.line_bytes_max = value;
    if (key == "headers") frame_limits.headers_max = value;
    if (key == "elements") frame_limits.elements_max = value;
    if (key == "bulk") frame_limits.bulk_bytes_max = value;
    if (key == "command") frame_limits.command_bytes_max = value;
    constexpr std::string_view kKnown = " body head line headers elements bulk command ";
    CHECK_MESSAGE(kKnown.find(" " + key + " ") != std::string_view::npos, "unknown limit " << key);
  }
}

void read_line(const std::string& line, Case& out) {
  if (starts_with(line, "#")) return;
  if (starts_with(line, ">>>x")) {
    size_t digits = 0;
    const size_t count = std::stoul(line.substr(4), &digits);
    const std::string text = unescape(line.substr(4 + digits + 1));
    for (size_t i = 0; i < count; ++i) out.sent += text;
  } else if (starts_with(line, ">>> ")) {
    out.sent += unescape(line.substr(4));
  } else if (starts_with(line, "limits: ")) {
    read_limits(line.substr(8), out.frame_limits);
  } else if (starts_with(line, "expect: ")) {
    out.expected.push_back(line.substr(8));
  } else if (line == "half-close") {
    out.half_close = true;
  } else if (line == "may-continue") {
    out.may_continue = true;
  } else {
    FAIL("unknown line in a case file: " << line);
  }
}

std::vector<Case> read_cases(const std::string& folder, Framing framing) {
  std::vector<Case> cases;
  for (const auto& entry : std::filesystem::directory_iterator(HRMR_WIRE_CASES "/" + folder)) {
    if (entry.path().extension() != ".case") continue;
    Case one;
    one.name = folder + "/" + entry.path().filename().string();
    one.framing = framing;
    INFO(one.name);
    std::ifstream file(entry.path(), std::ios::binary);
    for (std::string line; std::getline(file, line);) read_line(line, one);
    cases.push_back(std::move(one));
  }
  return cases;
}

Seen copy_request(const Request& request, const HeaderTable& headers) {
  Seen seen;
  seen.method = request.method;
  seen.target = request.target;
  seen.body = request.body;
  seen.bytes = request.bytes;
  if (request.framing == Framing::kResp) {
    seen.name = request.name;
    std::vector<Text> arguments;
    read_resp_arguments(request.bytes, arguments);
    for (const std::string_view each : arguments) seen.arguments.append(",").append(each);
    seen.arguments.erase(0, 1);
  }
  seen.http_minor = request.http_minor;
  seen.keep_alive = request.keep_alive;
  seen.head_only = request.head_only;
  for (size_t i = 0; i < headers.count; ++i) {
    const Header& header = headers.items[i];
    seen.headers.push_back(std::string(header.name) + ":" + std::string(header.value));
  }
  return seen;
}

// A connection that hands its framer an exact-size heap copy of its bytes at each call, so that the
// address sanitizer sees a read past the end and a view kept from an earlier call.
class Connection {
 public:
  explicit Connection(const Case& one) : framer_(slot_.choose(one.framing, one.frame_limits)) {}

  void receive(std::string_view bytes, bool at_end) {
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    while (!is_closed() && turn(at_end)) {
    }
    // Asked again without a new byte, it must not say anything else.
    if (!is_closed()) CHECK_FALSE(turn(at_end));
  }

  Outcome finish() {
    outcome_.left_bytes = pending_.size();
    return std::move(outcome_);
  }

 private:
  bool is_closed() const { return !outcome_.reply.empty(); }

  // False: the framer needs more.
  bool turn(bool at_end) {
    const size_t size = pending_.size();
    std::unique_ptr<char[]> input(new char[size]);
    std::copy(pending_.begin(), pending_.end(), input.get());
    Request request;
    std::memset(static_cast<void*>(headers_.get()), 0xee, sizeof *headers_);
    const Frame frame = framer_.next(input.get(), size, at_end, request, *headers_);
    REQUIRE(frame.consumed <= size);
    if (frame.kind == FrameKind::kRequest) {
      CHECK(request.framing == framer_.framing());
      CHECK(frame.consumed > 0);
      outcome_.requests.push_back(copy_request(request, *headers_));
    } else if (frame.kind == FrameKind::kInterim) {
      CHECK(frame.reply == "HTTP/1.1 100 Continue\r\n\r\n");
      CHECK(frame.consumed == 0);
      ++outcome_.interims;
    } else if (frame.kind == FrameKind::kRefused) {
      CHECK_FALSE(frame.reason.empty());
      outcome_.reply = frame.reply;
      outcome_.reason = frame.reason;
      if (framer_.framing() == Framing::kResp) {
        const std::string text = "-ERR Protocol error: " + outcome_.reason + "\r\n";
        CHECK(outcome_.reply == text);
      }
    }
    pending_.assign(input.get() + frame.consumed, input.get() + size);
    return frame.kind != FrameKind::kNeedMore;
  }

  FramerSlot slot_;
  Framer& framer_;
  std::unique_ptr<HeaderTable> headers_ = std::make_unique<HeaderTable>();
  std::vector<char> pending_;
  Outcome outcome_;
};

// The case cut behind each of `cuts`. `late_end`: the half-close comes alone, behind the last byte.
Outcome run(const Case& one, const std::vector<size_t>& cuts, bool late_end) {
  Connection connection(one);
  const std::string_view sent = one.sent;
  size_t from = 0;
  for (const size_t cut : cuts) {
    connection.receive(sent.substr(from, cut - from), false);
    from = cut;
  }
  connection.receive(sent.substr(from), one.half_close && !late_end);
  if (one.half_close && late_end) connection.receive({}, true);
  return connection.finish();
}

void check_field(const std::string& key, const std::string& value, const Seen& seen) {
  const auto yes_no = [](bool is) { return std::string(is ? "yes" : "no"); };
  if (key == "method") {
    CHECK(seen.method == value);
  } else if (key == "target") {
    CHECK(seen.target == value);
  } else if (key == "version") {
    CHECK("1." + std::to_string(seen.http_minor) == value);
  } else if (key == "keep_alive") {
    CHECK(yes_no(seen.keep_alive) == value);
  } else if (key == "head_only") {
    CHECK(yes_no(seen.head_only) == value);
  } else if (key == "headers") {
    CHECK(std::to_string(seen.headers.size()) == value);
  } else if (key == "header") {
    CHECK_MESSAGE(std::find(seen.headers.begin(), seen.headers.end(), value) != seen.headers.end(),
                  value);
  } else if (key == "body") {
    CHECK(seen.body == value);
  } else if (key == "bytes") {
    CHECK(seen.bytes == value);
  } else if (key == "name") {
    CHECK(seen.name == value);
  } else if (key == "arguments") {
    CHECK(seen.arguments == value);
  } else {
    FAIL("unknown field " << key);
  }
}

void check_request(const Case& one, const std::string& expected, const Seen& seen) {
  for (const std::string& word : words_of(expected)) {
    if (word == "request") continue;
    const size_t equals = word.find('=');
    REQUIRE(equals != std::string::npos);
    check_field(word.substr(0, equals), unescape(word.substr(equals + 1)), seen);
  }
  if (one.framing != Framing::kHttp) return;
  REQUIRE(seen.bytes.size() >= seen.body.size() + 4);
  CHECK(starts_with(seen.bytes, seen.method + " " + seen.target + " HTTP/1."));
  CHECK(seen.bytes.substr(seen.bytes.size() - seen.body.size()) == seen.body);
  CHECK(seen.bytes.substr(seen.bytes.size() - seen.body.size() - 4, 4) == "\r\n\r\n");
}

void check_refusal(const Case& one, const std::string& expected, const Outcome& outcome) {
  const std::string text = expected.substr(std::string_view("refused ").size());
  if (one.framing != Framing::kHttp) {
    CHECK_MESSAGE(starts_with(outcome.reply, text), outcome.reply);
    return;
  }
  const std::string reason = text.substr(4);
  CHECK_MESSAGE(starts_with(outcome.reply, "HTTP/1.1 " + text.substr(0, 3) + " "), outcome.reply);
  CHECK(outcome.reason == reason);
  const size_t head_bytes = outcome.reply.find("\r\n\r\n") + 4;
  const std::string head = outcome.reply.substr(0, head_bytes);
  CHECK(outcome.reply.substr(head_bytes) == reason + "\n");
  CHECK(head.find("\r\nContent-Length: " + std::to_string(reason.size() + 1) + "\r\n") !=
        std::string::npos);
  CHECK(head.find("\r\nConnection: close\r\n") != std::string::npos);
  CHECK(head.find("\r\nContent-Type: text/plain") != std::string::npos);
}

void check(const Case& one, const Outcome& outcome) {
  std::vector<std::string> expected = one.expected;
  const bool has_more = !expected.empty() && expected.back() == "more";
  const bool is_refused = !expected.empty() && starts_with(expected.back(), "refused ");
  if (has_more || is_refused) expected.pop_back();
  REQUIRE(outcome.requests.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    REQUIRE(words_of(expected[i])[0] == "request");
    check_request(one, expected[i], outcome.requests[i]);
  }
  CHECK_MESSAGE(outcome.reply.empty() == !is_refused, outcome.reply);
  if (is_refused) check_refusal(one, one.expected.back(), outcome);
  if (!is_refused) CHECK((outcome.left_bytes != 0) == has_more);
  CHECK(outcome.interims <= (one.may_continue ? expected.size() : 0));
}

void check_at(const Case& one, const std::vector<size_t>& cuts, const char* how) {
  CAPTURE(one.name);
  CAPTURE(how);
  const size_t first_cut = cuts.empty() ? 0 : cuts.front();
  CAPTURE(first_cut);
  check(one, run(one, cuts, false));
  if (one.half_close) check(one, run(one, cuts, true));
}

// Cut positions `step` bytes apart, and each of the last 100.
std::vector<size_t> spread_cuts(size_t size, size_t step) {
  std::vector<size_t> cuts;
  const size_t last = size > 100 ? size - 100 : 0;
  for (size_t at = step; at < last; at += step) cuts.push_back(at);
  for (size_t at = std::max<size_t>(last, 1); at < size; ++at) cuts.push_back(at);
  return cuts;
}

void run_everywhere(const Case& one) {
  const size_t size = one.sent.size();
  const bool is_long = size > kEveryCutBytesMax;
  check_at(one, {}, "at once");
  check_at(one, spread_cuts(size, is_long ? 997 : 1), "in small pieces");
  for (const size_t cut : spread_cuts(size, is_long ? size / 50 : 1)) {
    check_at(one, {cut}, "in two");
  }
}

}  // namespace

TEST_CASE("http cases have the same outcome at every cut") {
  const std::vector<Case> cases = read_cases("http", Framing::kHttp);
  CHECK(cases.size() >= 200);
  for (const Case& one : cases) run_everywhere(one);
}

TEST_CASE("line cases have the same outcome at every cut") {
  const std::vector<Case> cases = read_cases("line", Framing::kLine);
  CHECK(cases.size() >= 20);
  for (const Case& one : cases) run_everywhere(one);
}

TEST_CASE("resp cases have the same outcome at every cut") {
  const std::vector<Case> cases = read_cases("resp", Framing::kResp);
  CHECK(cases.size() >= 35);
  for (const Case& one : cases) run_everywhere(one);
}

TEST_CASE("raw cases hand over every byte at every cut") {
  const std::vector<Case> cases = read_cases("raw", Framing::kRaw);
  CHECK(cases.size() >= 5);
  for (const Case& one : cases) {
    check_at(one, {}, "at once");
    for (const size_t cut : spread_cuts(one.sent.size(), 1)) {
      CAPTURE(one.name);
      const Outcome outcome = run(one, {cut}, false);
      CHECK(outcome.requests.size() == 2);
      std::string together;
      for (const Seen& seen : outcome.requests) together += seen.bytes;
      CHECK(together == one.sent);
    }
  }
}
