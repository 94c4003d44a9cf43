// The commands that tell about the server: INFO, COMMAND, CONFIG, MODULE, CLUSTER, DBSIZE.
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>

#include "base/text.h"
#include "modules/command_name.h"
#include "server/built_in.h"
#include "server/dispatcher.h"

namespace hrmr::server {

void put_modules(wire::ValueWriter& value, Control& control) {
  const std::vector<modules::ModuleInfo> loaded = control.modules();
  value.begin_list(loaded.size());
  for (const modules::ModuleInfo& info : loaded) {
    value.begin_map(3);
    value.bulk("name");
    value.bulk(info.name);
    value.bulk("ver");  // an integer in Redis, so: the generation
    value.integer(static_cast<int64_t>(info.generation));
    value.bulk("version");
    value.bulk(info.version);
  }
}

void run_module(BuiltInCall& call) {
  if (!call.is(1, "LIST")) {
    refuse_subcommand(call);
  } else if (check_subcommand_count(call, 2, 2)) {
    put_modules(call.value, call.control);
  }
}

void run_cluster(BuiltInCall& call) {
  call.value.error({}, "This instance has cluster support disabled");
}

void run_dbsize(BuiltInCall& call) { call.value.integer(0); }

// ---------------------------------------------------------------------------------------- CONFIG

namespace {

struct Setting {
  std::string_view name;
  std::string_view value;
};

// What clients and tools ask for, as it is in a server that keeps nothing.
constexpr Setting kSettings[] = {{"appendonly", "no"}, {"databases", "1"}, {"save", ""}};

bool asks_for(const BuiltInCall& call, const Setting& setting) {
  for (size_t i = 2; i < call.count(); ++i) {
    if (call.argument(i) == "*" || call.is(i, setting.name)) return true;
  }
  return false;
}

void config_get(BuiltInCall& call) {
  const auto wanted = [&](const Setting& each) { return asks_for(call, each); };
  const auto count = std::count_if(std::begin(kSettings), std::end(kSettings), wanted);
  call.value.begin_map(static_cast<size_t>(count));
  for (const Setting& each : kSettings) {
    if (!wanted(each)) continue;
    call.value.bulk(each.name);
    call.value.bulk(each.value);
  }
}

}  // namespace

void run_config(BuiltInCall& call) {
  if (call.is(1, "GET")) {
    if (check_subcommand_count(call, 3, SIZE_MAX)) config_get(call);
  } else if (call.is(1, "SET")) {
    if (!check_subcommand_count(call, 4, SIZE_MAX)) return;
    call.value.error({}, "Unknown option or number of arguments for CONFIG SET - '" +
                             std::string(call.argument(2)) + "'");
  } else {
    refuse_subcommand(call);
  }
}

// --------------------------------------------------------------------------------------- COMMAND

namespace {

// What there is to tell about a command, the server's own or a module's.
struct Described {
  std::string name;
  int arity = 0;
  std::string_view group;
  std::string summary;
  std::string module;  // empty: the server's own
  bool is_own() const { return module.empty(); }
};

std::string in_small(std::string_view name) {
  std::string small(name);
  std::transform(small.begin(), small.end(), small.begin(), ascii_lower);
  return small;
}

Described describe(const BuiltIn& built_in) {
  return {
      in_small(built_in.name), built_in.arity, built_in.group, std::string(built_in.summary), {}};
}

Described describe(const modules::Route& command) {
  const int least = static_cast<int>(std::min(command.arguments_min, 1'000'000U)) + 1;
  const bool is_exact = command.arguments_min == command.arguments_max;
  const std::string& module = command.module->name();
  return {in_small(command.prefix), is_exact ? least : -least, "module",
          "A command of the module " + module, module};
}

bool find_command(const BuiltInCall& call, std::string_view name, Described& found) {
  if (const BuiltIn* built_in = find_built_in(name); built_in != nullptr) {
    found = describe(*built_in);
    return true;
  }
  const modules::RouteMatch match = call.table.match_command(name);
  if (match.route == nullptr) return false;
  found = describe(*match.route);
  return true;
}

std::vector<Described> all_commands(const BuiltInCall& call) {
  std::vector<Described> all;
  for (const BuiltIn& each : built_ins()) all.push_back(describe(each));
  for (const modules::Route* each : call.table.commands()) all.push_back(describe(*each));
  return all;
}

// Ten fields, as Redis 7 has them. There are no keys.
void put_entry(wire::ValueWriter& value, const Described& command) {
  value.begin_list(10);
  value.bulk(command.name);
  value.integer(command.arity);
  value.begin_set(1);
  value.simple(command.is_own() ? "fast" : "module");
  for (int i = 0; i < 3; ++i) value.integer(0);  // first and last key, step
  value.begin_set(1);
  value.simple(command.group == "connection" ? "@connection" : "@slow");
  value.begin_set(0);   // tips
  value.begin_set(0);   // key specifications
  value.begin_list(0);  // sub-commands
}

void put_docs(wire::ValueWriter& value, const Described& command) {
  value.bulk(command.name);
  value.begin_map(command.is_own() ? 4 : 5);
  value.bulk("summary");
  value.bulk(command.summary);
  value.bulk("since");
  value.bulk("1.0.0");
  value.bulk("group");
  value.bulk(command.group);
  value.bulk("complexity");
  value.bulk(command.is_own() ? "O(1)" : "as the module has it");
  if (command.is_own()) return;
  value.bulk("module");
  value.bulk(command.module);
}

void command_info(BuiltInCall& call) {
  if (call.count() == 2) {
    const std::vector<Described> all = all_commands(call);
    call.value.begin_list(all.size());
    for (const Described& each : all) put_entry(call.value, each);
    return;
  }
  call.value.begin_list(call.count() - 2);
  for (size_t i = 2; i < call.count(); ++i) {
    Described found;
    if (find_command(call, call.argument(i), found)) {
      put_entry(call.value, found);
    } else {
      call.value.nil();
    }
  }
}

void command_docs(BuiltInCall& call) {
  std::vector<Described> wanted;
  if (call.count() == 2) wanted = all_commands(call);
  for (size_t i = 2; i < call.count(); ++i) {
    Described found;
    if (find_command(call, call.argument(i), found)) wanted.push_back(std::move(found));
  }
  call.value.begin_map(wanted.size());
  for (const Described& each : wanted) put_docs(call.value, each);
}

void command_list(BuiltInCall& call) {
  const std::vector<Described> all = all_commands(call);
  call.value.begin_list(all.size());
  for (const Described& each : all) call.value.bulk(each.name);
}

}  // namespace

void run_command_command(BuiltInCall& call) {
  if (call.count() == 1) {
    const std::vector<Described> all = all_commands(call);
    call.value.begin_list(all.size());
    for (const Described& each : all) put_entry(call.value, each);
  } else if (call.is(1, "COUNT")) {
    if (!check_subcommand_count(call, 2, 2)) return;
    const size_t count = built_ins().size() + call.table.commands().size();
    call.value.integer(static_cast<int64_t>(count));
  } else if (call.is(1, "INFO")) {
    command_info(call);
  } else if (call.is(1, "DOCS")) {
    command_docs(call);
  } else if (call.is(1, "LIST")) {
    if (check_subcommand_count(call, 2, 2)) command_list(call);
  } else {
    refuse_subcommand(call);
  }
}

// ------------------------------------------------------------------------------------------ INFO

namespace {

// "name:value\r\n" lines under "# Title".
class Section {
 public:
  explicit Section(std::string& text) : text_(text) {}
  template <class Value>
  Section& field(std::string_view name, const Value& value) {
    text_.append(name).append(":");
    if constexpr (std::is_arithmetic_v<Value>) {
      text_.append(std::to_string(value));
    } else {
      text_.append(value);
    }
    text_.append("\r\n");
    return *this;
  }

 private:
  std::string& text_;
};

// "1.28M", as Redis shortens bytes.
std::string human(uint64_t bytes) {
  constexpr char kUnits[] = {'B', 'K', 'M', 'G', 'T'};
  auto number = static_cast<double>(bytes);
  size_t unit = 0;
  for (; number >= 1024 && unit + 1 < sizeof kUnits; ++unit) number /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f%c" : "%.2f%c", number, kUnits[unit]);
  return text;
}

// proc(5): the second number of statm is the resident set, in pages.
uint64_t resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long long pages = 0;
  const bool is_read = std::fscanf(file, "%*u %llu", &pages) == 1;
  std::fclose(file);
  return is_read ? pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

void info_server(Section& section, BuiltInCall& call) {
  utsname system{};
  ::uname(&system);
  const ServerFacts facts = call.control.server_facts();
  section.field("redis_version", "7.0.15")
      .field("hrmr_version", HRMR_VERSION)
      .field("redis_mode", "standalone")
      .field("os", std::string(system.sysname) + " " + system.release + " " + system.machine)
      .field("arch_bits", 8 * sizeof(void*))
      .field("multiplexing_api", "epoll")
      .field("process_id", ::getpid())
      .field("tcp_port", facts.port)
      .field("uptime_in_seconds", facts.uptime_s)
      .field("uptime_in_days", facts.uptime_s / (24 * 3600))
      .field("io_threads_active", call.options.loops > 1 ? 1 : 0);
}

void info_clients(Section& section, BuiltInCall& call) {
  section.field("connected_clients", call.control.server_facts().connections)
      .field("maxclients", call.options.connections_max)
      .field("blocked_clients", 0);
}

void info_memory(Section& section, BuiltInCall&) {
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  const uint64_t resident = resident_bytes();
  const uint64_t peak = std::max<uint64_t>(static_cast<uint64_t>(use.ru_maxrss) * 1024, resident);
  section.field("used_memory", resident)
      .field("used_memory_human", human(resident))
      .field("used_memory_rss", resident)
      .field("used_memory_rss_human", human(resident))
      .field("used_memory_peak", peak)
      .field("used_memory_peak_human", human(peak))
      .field("maxmemory", 0)
      .field("maxmemory_human", "0B")
      .field("maxmemory_policy", "noeviction")
      .field("mem_fragmentation_ratio", "1.00");
}

void info_persistence(Section& section, BuiltInCall&) {
  section.field("loading", 0)
      .field("rdb_changes_since_last_save", 0)
      .field("rdb_bgsave_in_progress", 0)
      .field("rdb_last_bgsave_status", "ok")
      .field("aof_enabled", 0)
      .field("aof_rewrite_in_progress", 0)
      .field("aof_last_write_status", "ok");
}

void info_stats(Section& section, BuiltInCall& call) {
  const ServerFacts facts = call.control.server_facts();
  section.field("total_connections_received", facts.connections_total)
      .field("total_commands_processed", facts.requests)
      .field("rejected_connections", facts.connections_refused)
      .field("expired_keys", 0)
      .field("evicted_keys", 0)
      .field("keyspace_hits", 0)
      .field("keyspace_misses", 0)
      .field("pubsub_channels", 0)
      .field("pubsub_patterns", 0);
}

void info_replication(Section& section, BuiltInCall&) {
  section.field("role", "master").field("connected_slaves", 0).field("master_repl_offset", 0);
}

std::string seconds(const timeval& time) {
  char text[32];
  std::snprintf(text, sizeof text, "%lld.%06ld", static_cast<long long>(time.tv_sec),
                static_cast<long>(time.tv_usec));
  return text;
}

void info_cpu(Section& section, BuiltInCall&) {
  rusage use{};
  ::getrusage(RUSAGE_SELF, &use);
  section.field("used_cpu_sys", seconds(use.ru_stime))
      .field("used_cpu_user", seconds(use.ru_utime));
}

void info_modules(Section& section, BuiltInCall& call) {
  for (const modules::ModuleInfo& info : call.control.modules()) {
    section.field("module", "name=" + info.name + ",ver=" + std::to_string(info.generation) +
                                ",version=" + info.version +
                                ",routes=" + std::to_string(info.routes));
  }
}

void info_cluster(Section& section, BuiltInCall&) { section.field("cluster_enabled", 0); }

void info_keyspace(Section&, BuiltInCall&) {}

struct InfoSection {
  std::string_view title;
  void (*write)(Section& section, BuiltInCall& call);
};

constexpr InfoSection kSections[] = {
    {"Server", info_server},   {"Clients", info_clients},
    {"Memory", info_memory},   {"Persistence", info_persistence},
    {"Stats", info_stats},     {"Replication", info_replication},
    {"CPU", info_cpu},         {"Modules", info_modules},
    {"Cluster", info_cluster}, {"Keyspace", info_keyspace},
};

bool wants(const BuiltInCall& call, std::string_view title) {
  if (call.count() == 1) return true;
  for (size_t i = 1; i < call.count(); ++i) {
    for (const std::string_view word : {title, std::string_view("all"), std::string_view("default"),
                                        std::string_view("everything")}) {
      if (call.is(i, word)) return true;
    }
  }
  return false;
}

}  // namespace

void run_info(BuiltInCall& call) {
  std::string text;
  Section section(text);
  for (const InfoSection& each : kSections) {
    if (!wants(call, each.title)) continue;
    if (!text.empty()) text += "\r\n";
    text.append("# ").append(each.title).append("\r\n");
    each.write(section, call);
  }
  call.value.verbatim("txt", text);
}

}  // namespace hrmr::server
