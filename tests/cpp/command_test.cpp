// Commands over real sockets: as arrays, as lines, over HTTP; in order with all else; on the loop
// and on the pool; while their module is reloaded.
#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "eventually.h"
#include "running_server.h"
#include "shelf.h"

using namespace hrmr;
using namespace hrmr::test;
using modules::ReloadPolicy;

namespace {

// Answers with its context, a text, and all arguments.
int list_all(const hrmr_call* call, hrmr_reply* reply, void* context) {
  const hrmr_host& host = server::host_table();
  host.value_list(reply, call->count + 1);
  host.value_bytes(reply, bytes(static_cast<const char*>(context)));
  for (size_t i = 0; i < call->count; ++i) host.value_bytes(reply, call->arguments[i]);
  return HRMR_OK;
}

int count_all(const hrmr_call* call, hrmr_reply* reply, void*) {
  return server::host_table().value_integer(reply, static_cast<int64_t>(call->count));
}

int defer_it(const hrmr_call*, hrmr_reply* reply, void* context) {
  static_cast<Shelf*>(context)->put(server::host_table().defer(reply));
  return HRMR_OK;
}

int give_nothing(const hrmr_call*, hrmr_reply*, void*) { return HRMR_OK; }
int give_too_few(const hrmr_call*, hrmr_reply* reply, void*) {
  server::host_table().value_list(reply, 2);
  return server::host_table().value_nil(reply);
}
int give_too_many(const hrmr_call*, hrmr_reply* reply, void*) {
  server::host_table().value_nil(reply);
  server::host_table().value_nil(reply);
  return HRMR_OK;
}
int give_a_body(const hrmr_call*, hrmr_reply* reply, void*) {
  server::host_table().write(reply, HRMR_BYTES("+OK\r\n"));
  return HRMR_OK;
}
int return_failure(const hrmr_call*, hrmr_reply* reply, void*) {
  server::host_table().value_integer(reply, 1);
  return HRMR_FAILED;
}
int fail_in_words(const hrmr_call*, hrmr_reply* reply, void*) {
  return server::host_table().fail(reply, 404, HRMR_BYTES("no such user"));
}
int give_an_error(const hrmr_call*, hrmr_reply* reply, void*) {
  return server::host_table().value_error(reply, HRMR_BYTES("WRONGTYPE"), HRMR_BYTES("no list"));
}
int give_a_value(const hrmr_request*, hrmr_reply* reply, void*) {
  server::host_table().value_nil(reply);
  return HRMR_FAILED;
}

std::string call(const std::vector<std::string>& words) {
  std::string text = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return text;
}

std::string post(const std::string& target, const std::string& body) {
  return "POST " + target +
         " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nConnection: close\r\n\r\n" + body;
}

// What comes back for what was sent, up to the end of the connection.
std::string ask(const Running& running, const std::string& sent) {
  Client client = running.client();
  client.send(sent);
  client.finish();
  return client.rest();
}

std::string status_and_body(const std::string& answer) {
  const size_t end = answer.find("\r\n");
  const size_t body = answer.find("\r\n\r\n");
  REQUIRE(body != std::string::npos);
  CHECK(answer.find("Content-Type: application/json\r\n") != std::string::npos);
  return answer.substr(9, end - 9) + ": " + answer.substr(body + 4);
}

std::vector<Spec> both_ways(const char* text) {
  return {command_spec("KV.GET", Run::kInline, list_all, text),
          command_spec("KV.POOL", Run::kPool, list_all, text)};
}

struct Door {
  void wait() {
    ++waiting;
    std::unique_lock lock(mutex);
    opened.wait(lock, [this] { return is_open; });
  }
  void open() {
    const std::lock_guard lock(mutex);
    is_open = true;
    opened.notify_all();
  }
  std::atomic<int> waiting{0};
  std::mutex mutex;
  std::condition_variable opened;
  bool is_open = false;
};

int wait_at_door(const hrmr_call*, hrmr_reply* reply, void* context) {
  static_cast<Door*>(context)->wait();
  return server::host_table().value_simple(reply, HRMR_BYTES("through"));
}

}  // namespace

TEST_CASE("one command answers arrays, lines and HTTP, inline and on the pool") {
  Running running(both_ways("v"));
  for (const char* name : {"KV.GET", "KV.POOL"}) {
    CAPTURE(name);
    CHECK(ask(running, call({name, "a b", ""})) == "*3\r\n$1\r\nv\r\n$3\r\na b\r\n$0\r\n\r\n");
    CHECK(ask(running, std::string(name) + " 'a b' \"\\x41\"\r\n") ==
          "*3\r\n$1\r\nv\r\n$3\r\na b\r\n$1\r\nA\r\n");
    CHECK(status_and_body(ask(running, post("/call/" + std::string(name), R"(["a",1,true])"))) ==
          "200 OK: [\"v\",\"a\",\"1\",\"true\"]\n");
  }
  CHECK(ask(running, call({"kv.get"})) == "*1\r\n$1\r\nv\r\n");
  CHECK(ask(running, "kV.gEt\n") == "*1\r\n$1\r\nv\r\n");
  CHECK(status_and_body(ask(running, post("/call/kv.get?x=1", ""))) == "200 OK: [\"v\"]\n");
}

TEST_CASE("pipelined calls and lines are answered in order, however they run") {
  std::vector<Spec> specs = both_ways("v");
  specs.push_back({"LINE", Run::kInline, say, "line"});
  specs.push_back({"POOLED", Run::kPool, say, "pooled"});
  Running running(specs);
  std::string sent;
  std::string expected;
  for (int i = 0; i < 200; ++i) {
    const std::string number = std::to_string(i);
    const std::string reply =
        "*2\r\n$1\r\nv\r\n$" + std::to_string(number.size()) + "\r\n" + number + "\r\n";
    sent += call({i % 3 == 0 ? "KV.GET" : "KV.POOL", number});
    expected += reply;
    if (i % 5 == 0) sent += "KV.POOL " + number + "\r\n", expected += reply;
    if (i % 7 == 0) sent += "LINE" + number + "\n", expected += "line" + number + "\n";
    if (i % 11 == 0) sent += "POOLED" + number + "\n", expected += "pooled" + number + "\n";
    if (i % 13 == 0) sent += call({"PING"}), expected += "+PONG\r\n";
    if (i % 17 == 0) sent += "*0\r\n\r\n";
    if (i % 19 == 0) {
      sent += call({"nosuch", "x"});
      expected += "-ERR unknown command 'nosuch', with args beginning with: 'x' \r\n";
    }
  }
  CHECK(ask(running, sent) == expected);
}

TEST_CASE("the longest line route wins over a command, and a command over none") {
  Running running({command_spec("KV", Run::kInline, count_all),
                   {"KV.", Run::kInline, say, "line "},
                   command_spec("KV.GET", Run::kInline, count_all)});
  CHECK(ask(running, "KV.GET a b\n") == "line GET a b\n");
  CHECK(ask(running, "KV a b\n") == ":2\r\n");
  CHECK(ask(running, call({"KV.GET", "a"})) == ":1\r\n");
}

TEST_CASE("another number of arguments is refused") {
  Spec spec = command_spec("Two", Run::kInline, count_all);
  spec.prefix = "KV.TWO";
  spec.arguments_min = 1;
  spec.arguments_max = 2;
  Running running({spec});
  const std::string error = "wrong number of arguments for 'kv.two' command";
  CHECK(ask(running, call({"KV.TWO"})) == "-ERR " + error + "\r\n");
  CHECK(ask(running, "KV.TWO a b c\n") == "-ERR " + error + "\r\n");
  CHECK(ask(running, "KV.TWO a\n") == ":1\r\n");
  CHECK(ask(running, call({"KV.TWO", "a", "b"})) == ":2\r\n");
  CHECK(status_and_body(ask(running, post("/call/KV.TWO", "[]"))) ==
        "400 Bad Request: {\"error\":{\"code\":\"ERR\",\"message\":\"" + error + "\"}}\n");
}

TEST_CASE("what cannot be called over HTTP is answered as JSON") {
  Running running(both_ways("v"));
  CHECK(status_and_body(ask(running, post("/call/NONE", "[]"))) ==
        "404 Not Found: {\"error\":{\"code\":\"ERR\",\"message\":\"unknown command 'NONE'\"}}\n");
  for (const char* word : {"PING", "SHUTDOWN", "RELOAD", "", "x/KV.GET"}) {
    CHECK(status_and_body(ask(running, post("/call/" + std::string(word), "[]"))) ==
          "404 Not Found: {\"error\":{\"code\":\"ERR\",\"message\":\"unknown command '" +
              std::string(word) + "'\"}}\n");
  }
  CHECK(status_and_body(ask(running, post("/call/KV.GET", "{}"))) ==
        "400 Bad Request: {\"error\":{\"code\":\"ERR\",\"message\":\"the body must be a JSON "
        "list\"}}\n");
}

TEST_CASE("a command that is called with another method than POST is refused as JSON") {
  Running running(both_ways("v"));
  for (const std::string method : {"GET", "PUT", "DELETE", "OPTIONS"}) {
    const std::string answer = ask(running, method + " /call/KV.GET HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(answer.find("\r\nAllow: POST\r\n") != std::string::npos);
    CHECK(status_and_body(answer) ==
          "405 Method Not Allowed: {\"error\":{\"code\":\"ERR\",\"message\":\"a command is called "
          "with POST\"}}\n");
  }
  const std::string head = ask(running, "HEAD /call/KV.GET HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(status_and_body(head) == "405 Method Not Allowed: ");
}

TEST_CASE("pages of other sites cannot call commands, those of the server itself can") {
  Running running(both_ways("v"));
  std::string host = "localhost";
  const auto call_from = [&](const std::string& header) {
    std::string sent = post("/call/KV.POOL", "[]");
    sent.replace(sent.find("Host: h"), 7, "Host: " + host);
    sent.insert(sent.find("Content-Length"), header + "\r\n");
    return status_and_body(ask(running, sent));
  };
  const std::string refused =
      "403 Forbidden: {\"error\":{\"code\":\"NOPERM\",\"message\":\"asked for by a page of another "
      "origin\"}}\n";
  CHECK(call_from("Origin: http://evil.example") == refused);
  CHECK(call_from("Origin: null") == refused);
  CHECK(call_from("Sec-Fetch-Site: cross-site") == refused);
  CHECK(call_from("Origin: http://localhost") == "200 OK: [\"v\"]\n");
  CHECK(call_from("Sec-Fetch-Site: same-origin") == "200 OK: [\"v\"]\n");
  // A name that its owner has pointed at us; programs may use any.
  host = "evil.example";
  CHECK(call_from("Origin: http://evil.example") == refused);
  CHECK(call_from("Sec-Fetch-Site: same-origin") == refused);
  CHECK(call_from("Accept: */*") == "200 OK: [\"v\"]\n");
}

TEST_CASE("a command that gives no whole value is an error, and the connection goes on") {
  Running running({command_spec("NOTHING", Run::kInline, give_nothing),
                   command_spec("FEW", Run::kPool, give_too_few),
                   command_spec("MANY", Run::kInline, give_too_many),
                   command_spec("BODY", Run::kInline, give_a_body),
                   command_spec("FAILED", Run::kPool, return_failure),
                   command_spec("WORDS", Run::kInline, fail_in_words),
                   command_spec("CODE", Run::kInline, give_an_error),
                   {"VALUE", Run::kInline, give_a_value, nullptr}});
  const std::string failed = "-ERR module 'spec' failed";
  const auto answer = [&](const char* name) {
    const std::string text = ask(running, call({name}) + call({"PING"}));
    const size_t end = text.find("\r\n") + 2;
    CHECK(text.substr(end) == "+PONG\r\n");
    return text.substr(0, end - 2);
  };
  CHECK(answer("NOTHING") == failed + ": it gave no value");
  CHECK(answer("FEW") == failed + ": a list, map or set has fewer elements than were promised");
  CHECK(answer("MANY") == failed + ": a nil came behind the end of the value");
  CHECK(answer("BODY") == failed + ": a command answers with a value, not with a body");
  CHECK(answer("FAILED") == failed);
  CHECK(answer("WORDS") == "-ERR no such user");
  CHECK(answer("CODE") == "-WRONGTYPE no list");
  CHECK(ask(running, "VALUE\n") ==
        "ERR module 'spec' failed: a route answers with a body, not with a value\n");
  CHECK(status_and_body(ask(running, post("/call/WORDS", ""))) ==
        "404 Not Found: {\"error\":{\"code\":\"ERR\",\"message\":\"no such user\"}}\n");
  CHECK(status_and_body(ask(running, post("/call/CODE", ""))) ==
        "500 Internal Server Error: {\"error\":{\"code\":\"WRONGTYPE\",\"message\":\"no "
        "list\"}}\n");
  const std::string log = running.take_log();
  CHECK(log.find("the handler of 'NOTHING' failed: it gave no value") != std::string::npos);
  CHECK(log.find("'WORDS'") == std::string::npos);
}

TEST_CASE("a command may answer later, in the form that its client spoke") {
  Shelf shelf;
  Running running({command_spec("LATER", Run::kInline, defer_it, &shelf),
                   command_spec("POOLED", Run::kPool, defer_it, &shelf)});
  const hrmr_host& host = server::host_table();
  for (const char* name : {"LATER", "POOLED"}) {
    CAPTURE(name);
    Client client = running.client();
    client.send(call({"HELLO", "3"}) + call({name}) + call({name}) + call({name}) + call({"PING"}));
    client.finish();
    hrmr_reply* reply = shelf.take();
    host.value_boolean(reply, 1);
    host.complete(reply);
    reply = shelf.take();
    host.value_list(reply, 2);
    host.complete(reply);
    host.drop(shelf.take());
    const std::string answer = client.rest();
    CHECK(answer.substr(answer.find("#t")) ==
          "#t\r\n-ERR module 'spec' failed: a list, map or set has fewer elements than were "
          "promised\r\n-ERR module 'spec' dropped the request without an answer\r\n+PONG\r\n");
  }
}

TEST_CASE("CLIENT REPLY keeps replies back, whatever they come from") {
  Shelf shelf;
  Running running({command_spec("POOLED", Run::kPool, count_all),
                   command_spec("LATER", Run::kPool, defer_it, &shelf),
                   {"LINE", Run::kInline, say, "line"}});
  Client client = running.client();
  client.send(call({"CLIENT", "REPLY", "SKIP"}) + call({"POOLED"}) + call({"POOLED", "1"}) +
              call({"CLIENT", "REPLY", "OFF"}) + call({"POOLED"}) + call({"LATER"}) + "LINE\n" +
              call({"nosuch"}) + call({"CLIENT", "REPLY", "ON"}) + call({"PING"}));
  client.finish();
  hrmr_reply* reply = shelf.take();
  server::host_table().value_nil(reply);
  server::host_table().complete(reply);
  CHECK(client.rest() == ":1\r\n+OK\r\n+PONG\r\n");
}

TEST_CASE("under `hold` calls wait for the new generation, under `reject` they are refused") {
  for (const ReloadPolicy policy : {ReloadPolicy::kHold, ReloadPolicy::kReject}) {
    Door door;
    server::Options options;
    options.registry.policy = policy;
    Running running(both_ways("old"), options);
    running.loader->specs = both_ways("new");
    running.loader->hooks.load = [&](const std::string&) {
      door.wait();
      return Status::ok();
    };
    std::future<modules::ReloadReport> outcome = running.begin_reload();
    REQUIRE(eventually([&] { return door.waiting == 1; }));
    Client client = running.client();
    client.send(call({"KV.GET", "1"}) + "KV.POOL 'a b'\n" + call({"KV.POOL", "3"}));
    client.finish();
    Client http = running.client();
    http.send(post("/call/KV.GET", "[]"));
    if (policy == ReloadPolicy::kReject) {
      const std::string busy = "module 'spec' is being reloaded, try again";
      CHECK(client.rest() == "-BUSY " + busy + "\r\n503 " + busy + "\n-BUSY " + busy + "\r\n");
      CHECK(status_and_body(http.rest()) ==
            "503 Service Unavailable: {\"error\":{\"code\":\"BUSY\",\"message\":\"" + busy +
                "\"}}\n");
      door.open();
    } else {
      door.open();
      CHECK(client.rest() ==
            "*2\r\n$3\r\nnew\r\n$1\r\n1\r\n*2\r\n$3\r\nnew\r\n$3\r\na b\r\n"
            "*2\r\n$3\r\nnew\r\n$1\r\n3\r\n");
      CHECK(status_and_body(http.rest()) == "200 OK: [\"new\"]\n");
    }
    CHECK_FALSE(outcome.get().has_failures());
  }
}

TEST_CASE("a full queue refuses calls, each in its place") {
  Door door;
  server::Options options;
  options.threads = 1;
  options.queue_slots = 2;
  Running running({command_spec("WAIT.HERE", Run::kPool, wait_at_door, &door)}, options);
  std::vector<Client> waiting;
  for (int i = 0; i < 3; ++i) {  // one is at the door, two fill the queue
    waiting.push_back(running.client());
    waiting.back().send(call({"WAIT.HERE"}));
    if (i == 0) REQUIRE(eventually([&] { return door.waiting == 1; }));
    CHECK(ask(running, call({"PING"})) == "+PONG\r\n");  // what came before it was looked at
  }
  CHECK(ask(running, call({"WAIT.HERE"}) + call({"PING"})) ==
        "-BUSY overloaded: the queue is full, try again\r\n+PONG\r\n");
  door.open();
  for (Client& each : waiting) CHECK(each.line() == "+through\r\n");
}

TEST_CASE("a large argument arrives whole, in whatever pieces") {
  Running running({command_spec("KV.GET", Run::kInline, list_all, "v")});
  const std::string large(8 << 20, 'x');
  Client client = running.client();
  client.send(call({"ECHO", large}) + call({"KV.GET", "1"}));
  CHECK(client.line() == "$8388608\r\n");
  CHECK(client.line() == large + "\r\n");
  CHECK(client.line() == "*2\r\n");
}

TEST_CASE("a connection that spoke RESP never becomes HTTP") {
  Running running(both_ways("v"));
  CHECK(ask(running, call({"PING"}) + "GET / HTTP/1.1\r\nHost: h\r\n\r\n") ==
        "+PONG\r\n-ERR unknown command 'GET', with args beginning with: '/' 'HTTP/1.1' \r\n"
        "-ERR unknown command 'Host:', with args beginning with: 'h' \r\n");
}
