// news: clients wait for what another one tells; and a timer counts. Macros: SAVES gives it a state
// to hand over, VERSION tells editions apart.
#include <atomic>
#include <hrmr/module.hpp>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#ifndef VERSION
#define VERSION "1"
#endif

namespace {

struct News {
  std::mutex mutex;
  std::vector<hrmr::Deferred> waiting;
  std::atomic<int> ticks{0};

#ifdef SAVES
  void save(hrmr::Save& save) const { save.write("nothing"); }
#endif
};

void wait(const hrmr::Request&, hrmr::Reply& reply, News& news) {
  const std::lock_guard lock(news.mutex);
  news.waiting.push_back(reply.defer());
}

void count(const hrmr::Request&, hrmr::Reply& reply, News& news) {
  const std::lock_guard lock(news.mutex);
  reply.write(std::to_string(news.waiting.size())).write("\n");
}

void tell(const hrmr::Request& request, hrmr::Reply& reply, News& news) {
  std::unique_lock lock(news.mutex);
  std::vector<hrmr::Deferred> waiting = std::exchange(news.waiting, {});
  lock.unlock();
  for (hrmr::Deferred& client : waiting) {
    client.header("X-Version", VERSION).write(request.rest()).write("\n");
    client.complete();
  }
  reply.write("told " + std::to_string(waiting.size()) + "\n");
}

void tell_ticks(const hrmr::Request&, hrmr::Reply& reply, News& news) {
  reply.write(std::to_string(news.ticks)).write("\n");
}

News* load(hrmr::Module& module) {
  auto* news = new News;
  module.route("WAIT", wait, *news);
  module.route("GET /wait", wait, *news, hrmr::kPool);
  module.route("WAITING", count, *news);
  module.route("TELL ", tell, *news, hrmr::kPool);
  module.route("TICKS", tell_ticks, *news);
  module.every(
      10, [](News& each) { ++each.ticks; }, *news);
  return news;
}

}  // namespace

HRMR_MODULE("news", VERSION, load)
