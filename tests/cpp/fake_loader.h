// FakeLoader: modules that are text files, for tests of what surrounds loaders. Each line of the
// file is one prefix ("raw:X" and "http:X" say the framing). Other lines: "FAIL why" makes the open
// fail, "REFUSE why" the load, "STAY" the close; "SAVE text" is the state that the module hands on,
// "SAVE! why" a save that fails; "WARN text" its warning. A route answers the whole text.
// FakeModules: a registry on a folder of them.
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
    Result<modules::Registrations> load(const modules::LoadArguments& arguments) override {
      if (arguments.previous != nullptr) {
        loader->events.push_back("load " + name + " from " + arguments.previous->bytes);
      }
      if (loader->during_load) loader->during_load(name.substr(0, name.find(' ')));
      const std::string why = value_of("REFUSE ");
      if (!why.empty()) return Status::error(why);
      modules::Registrations registered;
      registered.version = "0";
      std::istringstream lines(*content);
      for (std::string line; std::getline(lines, line);) {
        const bool is_word =
            line.rfind("STAY", 0) == 0 || line.rfind("SAVE", 0) == 0 || line.rfind("WARN ", 0) == 0;
        if (!is_word) registered.routes.push_back(make_route(line, *content));
      }
      return registered;
    }
    bool saves_state() const override { return contains(*content, "SAVE"); }
    Result<modules::SavedState> save_state() override {
      loader->events.push_back("save " + name);
      const std::string why = value_of("SAVE! ");
      if (!why.empty()) return Status::error(why);
      return modules::SavedState{1, value_of("SAVE ")};
    }
    void unload() override { loader->events.push_back("unload " + name); }
    Status close() override {
      loader->events.push_back("close " + name);
      if (contains(*content, "STAY")) return Status::error("still mapped: it said so");
      return Status::ok();
    }
    std::string warning() const override { return value_of("WARN "); }

    // What follows that word in its line; empty: there is no such line.
    std::string value_of(const std::string& word) const {
      std::istringstream lines(*content);
      for (std::string line; std::getline(lines, line);) {
        if (line.rfind(word, 0) == 0) return line.substr(word.size());
      }
      return "";
    }

    FakeLoader* loader = nullptr;
    std::string name;  // "http 3"
    std::shared_ptr<const std::string> content;
  };

  explicit FakeLoader(std::string suffix = ".fake") : suffix_(std::move(suffix)) {}

  std::string_view suffix() const override { return suffix_; }
  std::string_view package_file() const override { return package; }

  Result<std::unique_ptr<modules::Image>> open(const modules::OpenRequest& request) override {
    requests.push_back(request);
    if (during_open) during_open(request.name);
    auto image = std::make_unique<Image>();
    image->loader = this;
    image->name = request.name + " " + std::to_string(request.generation);
    image->content =
        std::make_shared<const std::string>(request.path.empty() ? text : read(request.path));
    const std::string why = image->value_of("FAIL ");
    if (!why.empty()) return Status::error(why);
    const std::string thrown = image->value_of("THROW ");
    if (!thrown.empty()) throw std::runtime_error(thrown);
    return std::unique_ptr<modules::Image>(std::move(image));
  }

  bool is_same_content(const std::string& path, const modules::Image& image) const override {
    ++comparisons;
    return read(path) == *static_cast<const Image&>(image).content;
  }

  // "unload http 1, close http 1", and forgets them.
  std::string take_events() {
    std::string joined;
    for (const std::string& event : std::exchange(events, {})) {
      joined += (joined.empty() ? "" : ", ") + event;
    }
    return joined;
  }

  std::string text;     // of modules without a file
  std::string package;  // the name of the file that makes a folder a module
  std::vector<std::string> events;
  std::vector<modules::OpenRequest> requests;
  std::function<void(const std::string& name)> during_open;
  std::function<void(const std::string& name)> during_load;
  mutable int comparisons = 0;

 private:
  std::string read(const std::string& path) const {
    return read_file(std::filesystem::is_directory(path) ? path + "/" + package : path);
  }
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
