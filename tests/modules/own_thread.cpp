// No fault, but a trap: its thread says that a job is done while it has far to go in the module's
// code. The state's destructor joins it.
#include <atomic>
#include <hrmr/module.hpp>
#include <memory>
#include <thread>

namespace {

class Worker {
 public:
  ~Worker() {
    is_stopping_ = true;
    thread_.join();
  }

  void run_job() {
    const unsigned job = ++asked_;
    while (done_ < job) std::this_thread::yield();
  }

 private:
  void run() {
    while (!is_stopping_) {
      const unsigned job = asked_;
      if (done_ == job) std::this_thread::yield();
      done_ = job;
      for (unsigned i = 0; i < 100'000; ++i) tail_ += i;  // "done", and still here
    }
  }

  std::atomic<bool> is_stopping_{false};
  std::atomic<unsigned> asked_{0};
  std::atomic<unsigned> done_{0};
  std::atomic<unsigned> tail_{0};
  std::thread thread_{&Worker::run, this};  // last: it uses the others
};

void work(const hrmr::Request&, hrmr::Reply& reply, Worker& worker) {
  worker.run_job();
  reply.write("done by " VERSION "\n");
}

std::unique_ptr<Worker> load(hrmr::Module& module) {
  auto worker = std::make_unique<Worker>();
  module.route("WORK", work, *worker, hrmr::kPool);
  return worker;
}

}  // namespace

HRMR_MODULE("own_thread", VERSION, load)
