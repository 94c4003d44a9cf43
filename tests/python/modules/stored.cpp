// No fault: commands with a state: inline, on the pool, deferred; and some that fail.
#include <hrmr/command.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

class Store {
 public:
  ~Store() {
    for (std::thread& each : threads_) each.join();
  }
  std::mutex mutex;
  std::map<std::string, std::string, std::less<>> values;

  template <class Work>
  void later(Work work) {
    const std::lock_guard lock(mutex);
    threads_.emplace_back(std::move(work));
  }

 private:
  std::vector<std::thread> threads_;
};

void set(const hrmr::Call& call, hrmr::Answer& answer, Store& store) {
  const std::lock_guard lock(store.mutex);
  store.values[std::string(call[0])] = call[1];
  answer.simple("OK");
}

void get(const hrmr::Call& call, hrmr::Answer& answer, Store& store) {
  const std::lock_guard lock(store.mutex);
  const auto found = store.values.find(call[0]);
  if (found == store.values.end()) {
    answer.nil();
  } else {
    answer.text(found->second);
  }
}

void dump(const hrmr::Call&, hrmr::Answer& answer, Store& store) {
  const std::lock_guard lock(store.mutex);
  answer.map(store.values.size());
  for (const auto& [key, value] : store.values) answer.text(key).text(value);
}

void later(const hrmr::Call& call, hrmr::Answer& answer, Store& store) {
  store.later([text = std::string(call[0]), deferred = answer.defer()]() mutable {
    hrmr::Answer(deferred).text(text);
    deferred.complete();
  });
}

void say(const hrmr::Call& call, hrmr::Answer& answer) { answer.text(call[0]); }
void say_and_close(const hrmr::Call&, hrmr::Answer& answer) { answer.integer(7).close(); }
void fail(const hrmr::Call&, hrmr::Answer&) { throw std::runtime_error("thrown on purpose"); }
void tear(const hrmr::Call&, hrmr::Answer& answer) { answer.list(2).integer(1); }

std::unique_ptr<Store> load(hrmr::Module& module) {
  auto store = std::make_unique<Store>();
  hrmr::command(module, {"KV.SET", 2, 2}, set, *store);
  hrmr::command(module, {"KV.GET", 1, 1}, get, *store);
  hrmr::command(module, {"KV.DUMP", 0, 0, hrmr::kPool}, dump, *store);
  hrmr::command(module, {"KV.LATER", 1, 1}, later, *store);
  hrmr::command(module, {"KV.SLOW", 1, 1, hrmr::kPool}, say);
  hrmr::command(module, {"KV.LAST"}, say_and_close);
  hrmr::command(module, {"KV.THROW"}, fail);
  hrmr::command(module, {"KV.TORN"}, tear);
  return store;
}

}  // namespace

HRMR_MODULE("stored", "1.0", load)
