// The commands that the server answers itself, by the dispatcher alone, on a stream without a
// socket. What they answer was compared with a redis-server 7.0.15.
#include "server/built_in.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "modules/command_name.h"
#include "server/dispatcher.h"

using namespace hrmr;
using namespace hrmr::server;

namespace {

struct OneOwner final : StreamOwner {
  void on_batch_done(Batch&) override {}
  void on_deferred_done(std::unique_ptr<Deferred>) override {}
  void on_piece(Piece&) override {}
  void on_command_done(std::string_view) override {}
  void on_hold_over(bool) override {}
  void visit_streams(const std::function<void(const Stream&)>& visit) override { visit(*stream); }
  Stream* stream = nullptr;
};

struct FactsControl final : Control {
  void reload(std::vector<std::string> only, std::function<void(std::string)> done) override {
    reloaded = std::move(only);
    reload_done = std::move(done);
    ++reloads;
  }
  void begin_shutdown() override { ++shutdowns; }
  work::WorkerPool& pool(modules::Run) override { return unused_pool; }
  void let_go(modules::Module*) override {}
  void drained(modules::Module*) override {}
  Log& log() override { return own_log; }
  ServerFacts server_facts() override { return {8080, 61, 3, 7, 99}; }
  std::vector<modules::ModuleInfo> modules() override { return {{"kv", "1.5", 4, 2}}; }

  std::vector<std::string> reloaded;
  std::function<void(std::string)> reload_done;
  int reloads = 0;
  int shutdowns = 0;
  Log own_log;
  work::WorkerPool unused_pool{work::PoolOptions{"unused", 1, 2}, std::make_unique<work::Crew>()};
};

struct Bench {
  explicit Bench(Options given = {}) : options(std::move(given)) {
    stream.owner = &owner;
    owner.stream = &stream;
    stream.session.id = 12;
    stream.peer.is_local = true;
  }

  // What is answered to these words, as an array of bulk strings.
  std::string ask(const std::vector<std::string>& words) {
    std::string text = "*" + std::to_string(words.size()) + "\r\n";
    for (const std::string& word : words) {
      text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
    }
    return send(text);
  }
  std::string send(std::string_view bytes) {
    stream.input.append(bytes);
    while ((step = dispatcher.next(stream)) == Step::kDone) {
    }
    std::string answer(stream.output.view());
    stream.output.clear();
    return answer;
  }

  Options options;
  net::EventLoop loop{0};
  FactsControl control;
  OneOwner owner;
  Dispatcher dispatcher{options, loop, control};
  Stream stream;
  Step step = Step::kDone;
};

using Words = std::vector<std::string>;
struct Said {
  Words words;
  const char* answer;
};

constexpr const char* kBadName =
    "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("connection commands answer as Redis does") {
  const Said said[] = {
      {{"PING"}, "+PONG\r\n"},
      {{"ping", "hi"}, "$2\r\nhi\r\n"},
      {{"PING", "a", "b"}, "-ERR wrong number of arguments for 'ping' command\r\n"},
      {{"ECHO", "x"}, "$1\r\nx\r\n"},
      {{"ECHO"}, "-ERR wrong number of arguments for 'echo' command\r\n"},
      {{"AUTH"}, "-ERR wrong number of arguments for 'auth' command\r\n"},
      {{"AUTH", "x"},
       "-ERR AUTH <password> called without any password configured for the default user. Are "
       "you sure your configuration is correct?\r\n"},
      {{"AUTH", "default", "x"}, "+OK\r\n"},
      {{"AUTH", "bob", "x"}, "-WRONGPASS invalid username-password pair or user is disabled.\r\n"},
      {{"AUTH", "a", "b", "c"}, "-ERR syntax error\r\n"},
      {{"SELECT", "0"}, "+OK\r\n"},
      {{"SELECT", "1"}, "-ERR DB index is out of range\r\n"},
      {{"SELECT", "-1"}, "-ERR DB index is out of range\r\n"},
      {{"SELECT", "x"}, "-ERR value is not an integer or out of range\r\n"},
      {{"RESET"}, "+RESET\r\n"},
      {{"CLIENT"}, "-ERR wrong number of arguments for 'client' command\r\n"},
      {{"CLIENT", "FOO"}, "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\r\n"},
      {{"CLIENT", "ID"}, ":12\r\n"},
      {{"CLIENT", "ID", "x"}, "-ERR wrong number of arguments for 'client|id' command\r\n"},
      {{"CLIENT", "GETNAME"}, "$-1\r\n"},
      {{"CLIENT", "SETNAME"}, "-ERR wrong number of arguments for 'client|setname' command\r\n"},
      {{"CLIENT", "SETNAME", "a b"}, kBadName},
      {{"CLIENT", "SETINFO", "LIB-NAME", "x"}, "+OK\r\n"},
      {{"CLIENT", "SETINFO", "lib-ver", "1"}, "+OK\r\n"},
      {{"CLIENT", "SETINFO", "FOO", "1"}, "-ERR Unrecognized option 'FOO'\r\n"},
      {{"CLIENT", "SETINFO", "LIB-VER", "1 2"},
       "-ERR lib-ver cannot contain spaces, newlines or special characters.\r\n"},
      {{"CLIENT", "LIST", "ID", "x"}, "-ERR Invalid client ID\r\n"},
      {{"CLIENT", "LIST", "FOO"}, "-ERR syntax error\r\n"},
      {{"CLIENT", "LIST", "ID", "11"}, "$0\r\n\r\n"},
      {{"CLIENT", "REPLY", "FOO"}, "-ERR syntax error\r\n"},
      {{"CLIENT", "NO-EVICT", "ON"}, "+OK\r\n"},
      {{"CLIENT", "NO-EVICT", "x"}, "-ERR syntax error\r\n"},
      {{"client", "no-touch", "off"}, "+OK\r\n"},
      {{"CLIENT", "MAINT_NOTIFICATIONS", "ON"},
       "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n"},
  };
  for (const Said& each : said) {
    CAPTURE(each.answer);
    CHECK(Bench().ask(each.words) == each.answer);
  }
}

TEST_CASE("QUIT and CLOSE say OK and close") {
  for (const char* word : {"QUIT", "CLOSE"}) {
    Bench bench;
    CHECK(bench.ask({word}) == "+OK\r\n");
    CHECK(bench.step == Step::kClosing);
    CHECK(bench.stream.closes);
  }
}

TEST_CASE("HELLO takes the protocol, a password and a name, all or nothing") {
  const std::string tail =
      "$2\r\nid\r\n:12\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
      "$7\r\nmodules\r\n*1\r\n";
  const std::string head = "$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n";
  Bench bench;
  const std::string second = bench.ask({"HELLO"});
  CHECK(second == "*14\r\n" + head + "$5\r\nproto\r\n:2\r\n" + tail +
                      "*6\r\n$4\r\nname\r\n$2\r\nkv\r\n$3\r\nver\r\n:4\r\n$7\r\nversion\r\n"
                      "$3\r\n1.5\r\n");
  const std::string third = bench.ask({"hello", "3", "auth", "default", "x", "setname", "me"});
  CHECK(third == "%7\r\n" + head + "$5\r\nproto\r\n:3\r\n" + tail +
                     "%3\r\n$4\r\nname\r\n$2\r\nkv\r\n$3\r\nver\r\n:4\r\n$7\r\nversion\r\n"
                     "$3\r\n1.5\r\n");
  CHECK(bench.ask({"CLIENT", "GETNAME"}) == "$2\r\nme\r\n");
  CHECK(bench.ask({"HELLO", "4"}) == "-NOPROTO unsupported protocol version\r\n");
  CHECK(bench.ask({"HELLO", "x"}) == "-ERR Protocol version is not an integer or out of range\r\n");
  CHECK(bench.ask({"HELLO", "2", "FOO"}) == "-ERR Syntax error in HELLO option 'FOO'\r\n");
  CHECK(bench.ask({"HELLO", "2", "SETNAME"}) == "-ERR Syntax error in HELLO option 'SETNAME'\r\n");
  CHECK(bench.ask({"HELLO", "2", "AUTH", "x"}) == "-ERR Syntax error in HELLO option 'AUTH'\r\n");
  CHECK(bench.ask({"HELLO", "2", "SETNAME", "a b"}) == kBadName);
  CHECK(bench.ask({"HELLO", "2", "SETNAME", "you", "AUTH", "bob", "x"}) ==
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  // None of these has changed anything.
  CHECK(bench.ask({"CLIENT", "GETNAME"}) == "$2\r\nme\r\n");
  CHECK(bench.stream.session.is_resp3);
  CHECK(bench.ask({"RESET"}) == "+RESET\r\n");
  CHECK(bench.ask({"CLIENT", "GETNAME"}) == "$-1\r\n");
}

TEST_CASE("a handshake comes in one packet") {
  Bench bench;
  const std::string answer = bench.send(
      "*2\r\n$5\r\nhello\r\n$1\r\n2\r\n*4\r\n$6\r\nclient\r\n$7\r\nsetinfo\r\n$8\r\nlib-name\r\n"
      "$2\r\nme\r\n*2\r\n$6\r\nselect\r\n$1\r\n0\r\n*1\r\n$4\r\nping\r\n");
  CHECK(answer.substr(answer.size() - 17) == "+OK\r\n+OK\r\n+PONG\r\n");
}

TEST_CASE("CLIENT INFO and LIST tell what is known of connections") {
  Bench bench;
  (void)bench.ask({"CLIENT", "SETNAME", "me"});
  (void)bench.ask({"CLIENT", "SETINFO", "LIB-NAME", "lib"});
  const std::string info = bench.ask({"CLIENT", "INFO"});
  CHECK(contains(info, "\r\nid=12 addr="));
  CHECK(contains(info, " name=me "));
  CHECK(contains(info, " resp=2 lib-name=lib lib-ver=\n\r\n"));
  CHECK(bench.ask({"CLIENT", "LIST"}) == info);
  CHECK(bench.ask({"CLIENT", "LIST", "ID", "12", "13"}) == info);
  CHECK(bench.ask({"CLIENT", "LIST", "TYPE", "normal"}) == info);
}

TEST_CASE("INFO is never an error, and has what tools read") {
  Bench bench;
  const std::string all = bench.ask({"INFO"});
  for (const char* field :
       {"# Server\r\n", "redis_version:7.0.15\r\n", "hrmr_version:", "redis_mode:standalone\r\n",
        "tcp_port:8080\r\n", "uptime_in_seconds:61\r\n", "connected_clients:3\r\n",
        "used_memory:", "used_memory_human:", "loading:0\r\n", "total_connections_received:7\r\n",
        "total_commands_processed:99\r\n", "role:master\r\n",
        "used_cpu_sys:", "module:name=kv,ver=4,version=1.5,routes=2\r\n", "cluster_enabled:0\r\n",
        "\r\n\r\n# Keyspace\r\n"}) {
    CAPTURE(field);
    CHECK(contains(all, field));
  }
  const std::string some = bench.ask({"INFO", "replication", "CLIENTS"});
  CHECK(contains(some, "# Clients\r\n"));
  CHECK(contains(some, "# Replication\r\n"));
  CHECK_FALSE(contains(some, "# Server"));
  CHECK(bench.ask({"INFO", "nosuch"}) == "$0\r\n\r\n");
  CHECK(contains(bench.ask({"INFO", "everything"}), "# Server"));
}

TEST_CASE("COMMAND tells of built-in commands") {
  Bench bench;
  const std::string count = std::to_string(built_ins().size());
  CHECK(bench.ask({"COMMAND", "COUNT"}) == ":" + count + "\r\n");
  CHECK(bench.ask({"COMMAND"}).substr(0, 5) == "*" + count + "\r\n");
  CHECK(bench.ask({"COMMAND", "INFO", "ping", "nosuch"}) ==
        "*2\r\n*10\r\n$4\r\nping\r\n:-1\r\n*1\r\n+fast\r\n:0\r\n:0\r\n:0\r\n*1\r\n+@connection\r\n"
        "*0\r\n*0\r\n*0\r\n$-1\r\n");
  CHECK(contains(bench.ask({"COMMAND", "DOCS", "PING", "nosuch"}),
                 "*2\r\n$4\r\nping\r\n*8\r\n$7\r\nsummary\r\n"));
  CHECK(contains(bench.ask({"COMMAND", "LIST"}), "$4\r\necho\r\n"));
  CHECK(bench.ask({"COMMAND", "FOO"}) == "-ERR unknown subcommand 'FOO'. Try COMMAND HELP.\r\n");
}

TEST_CASE("what needs keys or a cluster is refused, what is only asked is answered") {
  Bench bench;
  CHECK(bench.ask({"CLUSTER", "INFO"}) == "-ERR This instance has cluster support disabled\r\n");
  CHECK(bench.ask({"SENTINEL", "masters"}) ==
        "-ERR unknown command 'SENTINEL', with args beginning with: 'masters' \r\n");
  CHECK(bench.ask({"CONFIG", "GET", "save"}) == "*2\r\n$4\r\nsave\r\n$0\r\n\r\n");
  CHECK(bench.ask({"CONFIG", "GET", "nosuch"}) == "*0\r\n");
  CHECK(bench.ask({"CONFIG", "GET"}) ==
        "-ERR wrong number of arguments for 'config|get' command\r\n");
  CHECK(bench.ask({"CONFIG", "SET", "x", "1"}) ==
        "-ERR Unknown option or number of arguments for CONFIG SET - 'x'\r\n");
  CHECK(bench.ask({"CONFIG", "FOO"}) == "-ERR unknown subcommand 'FOO'. Try CONFIG HELP.\r\n");
  CHECK(bench.ask({"DBSIZE"}) == ":0\r\n");
  CHECK(bench.ask({"MODULE", "LIST"}) ==
        "*1\r\n*6\r\n$4\r\nname\r\n$2\r\nkv\r\n$3\r\nver\r\n:4\r\n$7\r\nversion\r\n$3\r\n1.5\r\n");
  CHECK(bench.ask({"MODULE", "LOAD"}) == "-ERR unknown subcommand 'LOAD'. Try MODULE HELP.\r\n");
}

TEST_CASE("an unknown command is shown as Redis shows it, cut where Redis cuts") {
  Bench bench;
  CHECK(bench.ask({"nosuch"}) == "-ERR unknown command 'nosuch', with args beginning with: \r\n");
  CHECK(bench.ask({"no\r\nsuch", "q\n"}) ==
        "-ERR unknown command 'no  such', with args beginning with: 'q ' \r\n");
  CHECK(bench.ask({""}) == "-ERR unknown command '', with args beginning with: \r\n");
  CHECK(bench.ask({std::string(200, 'n'), std::string(200, 'a'), "b"}) ==
        "-ERR unknown command '" + std::string(128, 'n') + "', with args beginning with: '" +
            std::string(128, 'a') + "' \r\n");
  CHECK(bench.ask({"n", std::string(100, 'a'), std::string(100, 'b'), "c"}) ==
        "-ERR unknown command 'n', with args beginning with: '" + std::string(100, 'a') + "' '" +
            std::string(25, 'b') + "' \r\n");
}

TEST_CASE("RELOAD and SHUTDOWN as commands") {
  Bench bench;
  CHECK(bench.ask({"reload", "a", "b"}) == "");
  CHECK(bench.step == Step::kAway);
  CHECK(bench.control.reloaded == Words{"a", "b"});
  bench.control.reload_done("OK\n");
  bench.loop.discard_letters();
  bench.stream.is_away = false;
  CHECK(bench.ask({"SHUTDOWN", "LATER"}) == "-ERR syntax error\r\n");
  CHECK(bench.control.shutdowns == 0);
  CHECK(bench.ask({"SHUTDOWN", "NOSAVE"}) == "+OK shutting down\r\n");
  CHECK(bench.control.shutdowns == 1);
}

TEST_CASE("AUTH and HELLO take the admin token") {
  Options options;
  options.admin.token = "a token of some length";
  Bench bench(options);
  const std::string wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
  CHECK(bench.ask({"RELOAD"}) ==
        "-NOPERM RELOAD needs the admin token: send AUTH and the token first\r\n");
  CHECK(bench.ask({"AUTH", "no"}) == wrong);
  CHECK(bench.ask({"AUTH", "bob", options.admin.token}) == wrong);
  CHECK_FALSE(bench.stream.has_shown_token);
  CHECK(bench.ask({"AUTH", options.admin.token}) == "+OK\r\n");
  CHECK(bench.stream.has_shown_token);
  Bench greeted(options);
  CHECK(greeted.ask({"HELLO", "3", "AUTH", "default", "no"}) == wrong);
  CHECK_FALSE(greeted.stream.session.is_resp3);
  CHECK(greeted.ask({"HELLO", "3", "AUTH", "default", options.admin.token})[0] == '%');
  CHECK(greeted.stream.has_shown_token);
  Bench guessing(options);
  for (size_t i = 0; i + 1 < limits::kWrongTokensMax; ++i) {
    CHECK(guessing.ask({"AUTH", "no"}) == wrong);
    CHECK_FALSE(guessing.stream.closes);
  }
  CHECK(guessing.ask({"AUTH", "no"}) == wrong);
  CHECK(guessing.stream.closes);
}

TEST_CASE("as a line, a word with more behind it is no command") {
  Bench bench;
  CHECK(bench.send("SHUTDOWN now\n") == "ERR no route for 'SHUTDOWN now'\n");
  CHECK(bench.send("CLOSE it\n") == "ERR no route for 'CLOSE it'\n");
  CHECK(bench.control.shutdowns == 0);
  CHECK_FALSE(bench.stream.closes);
}

TEST_CASE("our own words as lines of a client that has called a command are answered as to it") {
  Bench bench;
  CHECK(bench.send("PING\n") == "+PONG\r\n");
  CHECK(bench.send("reload a b\n") == "");
  CHECK(bench.control.reloaded == Words{"a", "b"});
  bench.control.reload_done("OK\n");
  bench.loop.discard_letters();
  bench.stream.is_away = false;
  CHECK(bench.send("AUTH x y z\n") == "-ERR syntax error\r\n");
  CHECK(bench.send("SHUTDOWN now\n") ==
        "-ERR unknown command 'SHUTDOWN', with args beginning with: 'now' \r\n");
  CHECK(bench.send("CLOSE\n") == "+OK\r\n");
  CHECK(bench.stream.closes);
  Bench other;
  CHECK(other.send("PING\nSHUTDOWN\n") == "+PONG\r\n+OK shutting down\r\n");
  CHECK(other.control.shutdowns == 1);
}

TEST_CASE("RESET takes the shown token back") {
  Options options;
  options.admin.token = "0123456789abcdef";
  Bench bench(options);
  CHECK(bench.ask({"AUTH", "0123456789abcdef"}) == "+OK\r\n");
  CHECK(bench.stream.has_shown_token);
  CHECK(bench.ask({"RESET"}) == "+RESET\r\n");
  CHECK_FALSE(bench.stream.has_shown_token);
}

TEST_CASE("a word without its newline is answered as the connection is spoken to") {
  Bench bench;
  CHECK(bench.send("PING\n") == "+PONG\r\n");
  CHECK(bench.send("SHUTDOWN") == "");
  CHECK(bench.step == Step::kBareCommand);
  CHECK(bench.dispatcher.run_bare_command(bench.stream) == Step::kClosing);
  CHECK(bench.stream.output.view() == "+OK shutting down\r\n");
  CHECK(bench.control.shutdowns == 1);
}

TEST_CASE("from another machine they are refused with NOPERM") {
  Bench bench;
  bench.stream.peer.is_local = false;
  for (const char* word : {"RELOAD", "SHUTDOWN"}) {
    CHECK(bench.ask({word}) == std::string("-NOPERM ") + word +
                                   " is taken from this machine only; to take it from anywhere, "
                                   "start hrmr with --admin any\r\n");
  }
  CHECK(bench.control.reloads + bench.control.shutdowns == 0);
}

TEST_CASE("built-in commands as lines; what is none depends on what the client speaks") {
  Bench plain;
  CHECK(plain.send("nosuch 'a b'\n") == "ERR no route for 'nosuch 'a b''\n");
  Bench bench;
  CHECK(bench.send("PING\r\n") == "+PONG\r\n");
  CHECK(bench.send("ping \"a\\x41\"\n") == "$2\r\naA\r\n");
  CHECK(bench.send("nosuch 'a b'\n") ==
        "-ERR unknown command 'nosuch', with args beginning with: 'a b' \r\n");
  CHECK(bench.send("set \"\"\"k\"\"\" v\nPING\n") ==
        "-ERR Protocol error: unbalanced quotes in request\r\n");
  CHECK(bench.stream.closes);
}

TEST_CASE("no module can take the name of a built-in command, nor one that is no name") {
  for (const BuiltIn& each : built_ins()) {
    CAPTURE(each.name);
    CHECK(modules::is_built_in_command(each.name));
    CHECK(modules::check_command_name(each.name).message() ==
          "command '" + std::string(each.name) + "' belongs to HRMR itself");
    CHECK(find_built_in(each.name) == &each);
  }
  CHECK(modules::is_built_in_command("KV.GET") == false);
  for (const char* name : {"", "A B", "A\"", "A/B", "a", "\xc3\x89"}) {
    CHECK_FALSE(modules::check_command_name(name).is_ok());
  }
  CHECK(modules::check_command_name("KV.GET_2:X-Y").is_ok());
  CHECK(modules::check_command_name(std::string(64, 'A')).is_ok());
  CHECK_FALSE(modules::check_command_name(std::string(65, 'A')).is_ok());
  CHECK(modules::command_name("kv.Get") == "KV.GET");
}
