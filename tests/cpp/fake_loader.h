// FakeLoader: modules that are text files, for tests of what surrounds loaders. Each line of the
// file is one prefix ("raw:X" and "http:X" say the framing); "FAIL why" makes the load fail, "STAY"
// the close. A route answers the whole text. FakeModules: a registry on a folder of them.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "module_gallery.h"
#include "modules/loader.h"
#include "modules/registry.h"

namespace hrmr::test {

class FakeLoader final : public modules::Loader {
 public:
  struct Image final : modules::Image {
    void unload() override { loader->events.push_back("unload " + name); }
    Status close() override {
      loader->events.push_back("close " + name);
      if (contains(*content, "STAY")) return Status::error("still mapped: it said so");
      return Status::ok();
    }
    FakeLoader* loader = nullptr;
    std::string name;  // "http 3"
    std::shared_ptr<const std::string> content;
  };

  explicit FakeLoader(std::string suffix = ".fake") : suffix_(std::move(suffix)) {}

  std::string_view suffix() const override { return suffix_; }

  Result<modules::LoadedModule> load(const modules::LoadRequest& request) override {
    requests.push_back(request);
    if (during_load) during_load(request.name);
    const auto content =
        std::make_shared<const std::string>(request.path.empty() ? text : read_file(request.path));
    modules::LoadedModule loaded;
    loaded.version = "0";
    std::istringstream lines(*content);
    for (std::string line; std::getline(lines, line);) {
      if (line.rfind("FAIL ", 0) == 0) return Status::error(line.substr(5));
      if (line.rfind("THROW ", 0) == 0) throw std::runtime_error(line.substr(6));
      if (line != "STAY") loaded.routes.push_back(make_route(line, *content));
    }
    auto image = std::make_unique<Image>();
    image->loader = this;
    image->name = request.name + " " + std::to_string(request.generation);
    image->content = content;
    loaded.image = std::move(image);
    return loaded;
  }

  bool is_same_content(const std::string& path, const modules::Image& image) const override {
    ++comparisons;
    return read_file(path) == *static_cast<const Image&>(image).content;
  }

  // "unload http 1, close http 1", and forgets them.
  std::string take_events() {
    std::string joined;
    for (const std::string& event : std::exchange(events, {})) {
      joined += (joined.empty() ? "" : ", ") + event;
    }
    return joined;
  }

  std::string text;  // of modules without a file
  std::vector<std::string> events;
  std::vector<modules::LoadRequest> requests;
  std::function<void(const std::string& name)> during_load;
  mutable int comparisons = 0;

 private:
  static std::unique_ptr<modules::Route> make_route(std::string line, const std::string& content) {
    auto route = std::make_unique<modules::Route>();
    route->framing = modules::RouteFraming::kLine;
    if (line.rfind("raw:", 0) == 0) route->framing = modules::RouteFraming::kRaw;
    if (line.rfind("http:", 0) == 0) route->framing = modules::RouteFraming::kHttp;
    if (route->framing != modules::RouteFraming::kLine) line.erase(0, line.find(':') + 1);
    route->prefix = line;
    route->function = answer;
    // The content lives as long as the image, which lives as long as the route.
    route->context = const_cast<std::string*>(&content);
    return route;
  }
  static int answer(const hrmr_request*, hrmr_reply* reply, void* context) {
    text_of(reply) = *static_cast<const std::string*>(context);
    return HRMR_OK;
  }

  std::string suffix_;
};

// A registry on one folder of FakeLoader's modules.
class FakeModules {
 public:
  explicit FakeModules(modules::RegistryOptions options = {}, unsigned loop_count = 1)
      : loops(loop_count),
        registry(with_folder(std::move(options), loop_count), {&loader}, loops, log) {}
  ~FakeModules() { registry.unload_all(); }

  void put(const std::string& name, const std::string& content) {
    write_file(folder / (name + ".fake"), content);
  }
  void remove(const std::string& name) { std::filesystem::remove(folder / (name + ".fake")); }
  std::string reload(const std::vector<std::string>& only = {}) {
    report = registry.reload(only);
    return summary(report);
  }
  // As the reload thread does after each reload.
  void unload_drained() {
    for (modules::Module* module : loops.drained) registry.unload_drained(module);
    loops.drained.clear();
  }

  TempFolder folder;
  FakeLoader loader;
  FakeLoops loops;
  Log log;
  modules::ReloadReport report;
  modules::ModuleRegistry registry;

 private:
  modules::RegistryOptions with_folder(modules::RegistryOptions options, unsigned loop_count) {
    options.places.push_back(folder.path());
    options.loops = loop_count;
    return options;
  }
};

}  // namespace hrmr::test
