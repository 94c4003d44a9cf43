#include "wire/value_writer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

using namespace hrmr;
using namespace hrmr::wire;

namespace {

using Write = std::function<void(ValueWriter&)>;

struct Written {
  std::string text;
  bool is_complete = false;
  bool has_failed = false;
  std::string fault;
};

Written write(ValueForm form, const Write& write_value) {
  Output out;
  ReplyFacts facts;
  facts.framing = form == ValueForm::kJson ? Framing::kHttp : Framing::kResp;
  facts.form = form;
  ReplyWriter reply(out, facts);
  ValueWriter value(reply, form);
  write_value(value);
  Written written{{}, value.is_complete(), reply.has_failed(), std::string(value.fault())};
  reply.finish();
  written.text = out.view();
  const size_t body = written.text.find("\r\n\r\n");
  if (form == ValueForm::kJson) {
    CHECK(written.text.find("Content-Type: application/json\r\n") != std::string::npos);
    written.text.erase(0, body + 4);
  }
  return written;
}

std::string in(ValueForm form, const Write& write_value) {
  const Written written = write(form, write_value);
  CHECK(written.is_complete);
  CHECK(written.fault.empty());
  return written.text;
}

void check(const Write& value, const char* resp2, const char* resp3, const char* json) {
  CHECK(in(ValueForm::kResp2, value) == resp2);
  CHECK(in(ValueForm::kResp3, value) == resp3);
  CHECK(in(ValueForm::kJson, value) == std::string(json) + "\n");
}

constexpr ValueForm kForms[] = {ValueForm::kResp2, ValueForm::kResp3, ValueForm::kJson};

}  // namespace

TEST_CASE("single values, folded for RESP2 as Redis folds them") {
  check([](ValueWriter& out) { out.nil(); }, "$-1\r\n", "_\r\n", "null");
  check([](ValueWriter& out) { out.boolean(true); }, ":1\r\n", "#t\r\n", "true");
  check([](ValueWriter& out) { out.boolean(false); }, ":0\r\n", "#f\r\n", "false");
  check([](ValueWriter& out) { out.integer(-42); }, ":-42\r\n", ":-42\r\n", "-42");
  check([](ValueWriter& out) { out.integer(std::numeric_limits<int64_t>::min()); },
        ":-9223372036854775808\r\n", ":-9223372036854775808\r\n", "-9223372036854775808");
  check([](ValueWriter& out) { out.bulk("a b"); }, "$3\r\na b\r\n", "$3\r\na b\r\n", "\"a b\"");
  check([](ValueWriter& out) { out.bulk(""); }, "$0\r\n\r\n", "$0\r\n\r\n", "\"\"");
  check([](ValueWriter& out) { out.simple("OK"); }, "+OK\r\n", "+OK\r\n", "\"OK\"");
  check([](ValueWriter& out) { out.verbatim("txt", "hi"); }, "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n",
        "\"hi\"");
}

TEST_CASE("doubles are Redis 7.0's %.17g, and the shortest text in JSON") {
  check([](ValueWriter& out) { out.number(1.5); }, "$3\r\n1.5\r\n", ",1.5\r\n", "1.5");
  check([](ValueWriter& out) { out.number(0.1); }, "$19\r\n0.10000000000000001\r\n",
        ",0.10000000000000001\r\n", "0.1");
  check([](ValueWriter& out) { out.number(100000); }, "$6\r\n100000\r\n", ",100000\r\n", "100000");
  check([](ValueWriter& out) { out.number(HUGE_VAL); }, "$3\r\ninf\r\n", ",inf\r\n", "null");
  check([](ValueWriter& out) { out.number(-HUGE_VAL); }, "$4\r\n-inf\r\n", ",-inf\r\n", "null");
  check([](ValueWriter& out) { out.number(-std::nan("")); }, "$3\r\nnan\r\n", ",nan\r\n", "null");
  check([](ValueWriter& out) { out.number(-1.7976931348623157e308); },
        "$24\r\n-1.7976931348623157e+308\r\n", ",-1.7976931348623157e+308\r\n",
        "-1.7976931348623157e+308");
}

TEST_CASE("lists, sets and maps, nested") {
  check(
      [](ValueWriter& out) {
        out.begin_list(3);
        out.integer(1);
        out.begin_map(1);
        out.bulk("k");
        out.begin_set(2);
        out.bulk("x");
        out.nil();
        out.begin_list(0);
      },
      "*3\r\n:1\r\n*2\r\n$1\r\nk\r\n*2\r\n$1\r\nx\r\n$-1\r\n*0\r\n",
      "*3\r\n:1\r\n%1\r\n$1\r\nk\r\n~2\r\n$1\r\nx\r\n_\r\n*0\r\n", "[1,{\"k\":[\"x\",null]},[]]");
  check([](ValueWriter& out) { out.begin_map(0); }, "*0\r\n", "%0\r\n", "{}");
  check(
      [](ValueWriter& out) {
        out.begin_map(4);
        out.integer(7);
        out.begin_map(0);
        out.boolean(true);
        out.bulk("t");
        out.number(0.5);
        out.nil();
        out.bulk("last");
        out.integer(1);
      },
      "*8\r\n:7\r\n*0\r\n:1\r\n$1\r\nt\r\n$3\r\n0.5\r\n$-1\r\n$4\r\nlast\r\n:1\r\n",
      "%4\r\n:7\r\n%0\r\n#t\r\n$1\r\nt\r\n,0.5\r\n_\r\n$4\r\nlast\r\n:1\r\n",
      R"({"7":{},"true":"t","0.5":null,"last":1})");
}

TEST_CASE("JSON escapes what it must, and wraps what is not UTF-8") {
  const auto json = [](std::string_view bytes) {
    return in(ValueForm::kJson, [bytes](ValueWriter& out) { out.bulk(bytes); });
  };
  CHECK(json("\"\\/\n\r\t\x01\x7f") == "\"\\\"\\\\/\\n\\r\\t\\u0001\x7f\"\n");
  CHECK(json("\xc3\xa9\xf0\x9f\x98\x80") == "\"\xc3\xa9\xf0\x9f\x98\x80\"\n");
  CHECK(json(std::string_view("a\0b", 3)) == "\"a\\u0000b\"\n");
  CHECK(json("\xff") == "{\"base64\":\"/w==\"}\n");
  CHECK(json("\xff\xfe") == "{\"base64\":\"//4=\"}\n");
  CHECK(json("\xff\xfe\xfd") == "{\"base64\":\"//79\"}\n");
}

TEST_CASE("an error is the whole reply, or one element") {
  const Write whole = [](ValueWriter& out) { out.error("NOTFOUND", "no\r\nsuch \"user\""); };
  CHECK(in(ValueForm::kResp2, whole) == "-NOTFOUND no  such \"user\"\r\n");
  CHECK(in(ValueForm::kResp3, whole) == "-NOTFOUND no  such \"user\"\r\n");
  CHECK(in(ValueForm::kJson, whole) ==
        R"({"error":{"code":"NOTFOUND","message":"no\r\nsuch \"user\""}})"
        "\n");
  CHECK(write(ValueForm::kResp2, whole).has_failed);
  check(
      [](ValueWriter& out) {
        out.begin_list(2);
        out.error("", "one");
        out.integer(2);
      },
      "*2\r\n-ERR one\r\n:2\r\n", "*2\r\n-ERR one\r\n:2\r\n",
      R"([{"error":{"code":"ERR","message":"one"}},2])");
}

TEST_CASE("a value that is not complete says so, and one that is takes nothing more") {
  for (const ValueForm form : kForms) {
    CHECK(write(form, [](ValueWriter&) {}).fault == "it gave no value");
    const char* const kFewer = "a list, map or set has fewer elements than were promised";
    CHECK(write(form, [](ValueWriter& out) {
            out.begin_list(2);
            out.integer(1);
          }).fault == kFewer);
    CHECK(write(form, [](ValueWriter& out) {
            out.begin_map(1);
            out.bulk("key");
          }).fault == kFewer);
    CHECK(write(form, [](ValueWriter& out) {
            out.begin_list(1);
            out.begin_list(1);
          }).fault == kFewer);
    (void)in(form, [](ValueWriter& out) {
      out.begin_list(1);
      CHECK(out.integer(1) == WriteResult::kOk);
      CHECK(out.integer(2) == WriteResult::kTooLate);
      CHECK(out.begin_list(0) == WriteResult::kTooLate);
      CHECK(out.nil() == WriteResult::kTooLate);
      CHECK(out.error("", "x") == WriteResult::kTooLate);
    });
  }
}

TEST_CASE("what would make the value wrong is refused and writes nothing") {
  for (const ValueForm form : kForms) {
    const std::string text = in(form, [](ValueWriter& out) {
      CHECK(out.simple("a\nb") == WriteResult::kBadArgument);
      CHECK(out.verbatim("text", "x") == WriteResult::kBadArgument);
      CHECK(out.error("not a code", "x") == WriteResult::kBadArgument);
      CHECK(out.begin_list(size_t{1} << 62) == WriteResult::kTooLarge);
      out.begin_map(1);
      CHECK(out.begin_list(0) == WriteResult::kBadArgument);
      CHECK(out.nil() == WriteResult::kBadArgument);
      CHECK(out.error("", "x") == WriteResult::kBadArgument);
      out.bulk("k");
      out.integer(1);
    });
    CHECK(text == in(form, [](ValueWriter& out) {
            out.begin_map(1);
            out.bulk("k");
            out.integer(1);
          }));
  }
  (void)in(ValueForm::kJson, [](ValueWriter& out) {
    out.begin_map(1);
    CHECK(out.bulk("\xff") == WriteResult::kBadArgument);
    out.bulk("k");
    out.nil();
  });
}

TEST_CASE("nesting is bounded") {
  for (const ValueForm form : kForms) {
    const Written written = write(form, [](ValueWriter& out) {
      for (size_t i = 0; i < limits::kReplyDepthMax; ++i) {
        CHECK(out.begin_list(1) == WriteResult::kOk);
      }
      CHECK(out.begin_list(1) == WriteResult::kTooLarge);
      CHECK(out.nil() == WriteResult::kOk);
    });
    CHECK(written.is_complete);
  }
}

TEST_CASE("a reply has its bound, and a silent one sends nothing") {
  Output out;
  ReplyFacts facts;
  facts.framing = Framing::kResp;
  facts.form = ValueForm::kResp2;
  facts.bytes_max = 100;
  ReplyWriter reply(out, facts);
  ValueWriter value(reply, ValueForm::kResp2);
  CHECK(value.bulk(std::string(100, 'x')) == WriteResult::kTooLarge);
  CHECK_FALSE(value.is_complete());
  CHECK(value.integer(1) == WriteResult::kOk);
  reply.set_silent(true);
  reply.finish();
  CHECK(out.is_empty());
}

TEST_CASE("a failure has the form that its client reads") {
  const auto failure = [](Framing framing, ValueForm form, int status) {
    Output out;
    ReplyFacts facts;
    facts.framing = framing;
    facts.form = form;
    ReplyWriter reply(out, facts);
    reply.fail(status, "why\nnot");
    reply.finish();
    return std::string(out.view());
  };
  CHECK(failure(Framing::kResp, ValueForm::kResp2, 500) == "-ERR why not\r\n");
  CHECK(failure(Framing::kResp, ValueForm::kResp3, 503) == "-BUSY why not\r\n");
  CHECK(failure(Framing::kResp, ValueForm::kResp2, 403) == "-NOPERM why not\r\n");
  CHECK(failure(Framing::kLine, ValueForm::kResp2, 500) == "-ERR why not\r\n");
  CHECK(failure(Framing::kLine, ValueForm::kResp2, 503) == "503 why not\n");
  CHECK(failure(Framing::kLine, ValueForm::kNone, 500) == "ERR why not\n");
  const std::string http = failure(Framing::kHttp, ValueForm::kJson, 503);
  CHECK(http.find("HTTP/1.1 503 Service Unavailable\r\n") == 0);
  CHECK(http.find("\r\n\r\n{\"error\":{\"code\":\"BUSY\",\"message\":\"why\\nnot\"}}\n") !=
        std::string::npos);
}
