// src/metrics/process.cpp -- the page's part about the process. A sandbox without /proc entries costs those
// lines only.
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "src/metrics/subjects.h"

namespace sidepool::metrics {

namespace {

void add_one(Families& page, Family family, double value) {
  family.add({}, value);
  family.move_to(page);
}

// Fields of /proc/self/stat behind the command's name, which may hold anything but ends with the last ')'
// (proc(5)): word 0 is the state, field 3.
std::vector<std::string> stat_words() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  const auto end = line.rfind(')');
  std::vector<std::string> words;
  if (end == std::string::npos) return words;
  std::istringstream rest(line.substr(end + 1));
  for (std::string word; rest >> word;) words.push_back(word);
  return words;
}

double boot_time() {
  std::ifstream file("/proc/stat");
  std::string word;
  while (file >> word) {
    double seconds = 0;
    if (word == "btime" && file >> seconds) return seconds;
  }
  return 0;
}

std::size_t open_descriptors() {
  DIR* dir = opendir("/proc/self/fd");
  if (dir == nullptr) return 0;
  std::size_t n = 0;
  while (const dirent* entry = readdir(dir)) n += entry->d_name[0] != '.';
  closedir(dir);
  return n > 0 ? n - 1 : 0;  // without the one that reads the directory
}

void add_standard(Families& page) {
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    add_one(page, counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
            seconds(usage.ru_utime) + seconds(usage.ru_stime));
  }
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    add_one(page, gauge("process_max_fds", "Maximum number of open file descriptors."),
            static_cast<double>(files.rlim_cur));
  }
  if (const std::size_t n = open_descriptors(); n > 0) {
    add_one(page, gauge("process_open_fds", "Number of open file descriptors."), static_cast<double>(n));
  }
  const auto words = stat_words();
  constexpr std::size_t kStart = 19, kVirtual = 20, kResident = 21;  // proc(5): fields 22 to 24
  if (words.size() <= kResident) return;
  add_one(page, gauge("process_virtual_memory_bytes", "Virtual memory size in bytes."),
          std::strtod(words[kVirtual].c_str(), nullptr));
  add_one(page, gauge("process_resident_memory_bytes", "Resident memory size in bytes."),
          std::strtod(words[kResident].c_str(), nullptr) * static_cast<double>(sysconf(_SC_PAGESIZE)));
  if (const double boot = boot_time(); boot > 0) {
    add_one(page,
            gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
            boot + std::strtod(words[kStart].c_str(), nullptr) / static_cast<double>(sysconf(_SC_CLK_TCK)));
  }
}

}  // namespace

void add_process(const Registry& registry, Families& page) {
  Family build = gauge("sidepool_build_info", "Version of this process; the value is always 1.");
  build.add({{"version", registry.identity().version}}, 1);
  build.move_to(page);

  const ProcessGauges now = registry.process();
  add_one(page, gauge("sidepool_ready", "1 while /readiness answers ok."), now.ready ? 1 : 0);
  add_one(page, gauge("sidepool_workers", "Worker threads."), now.workers);
  add_one(page, gauge("sidepool_clients_connected", "Clients connected, logged in or not."), now.clients);
  add_one(page, gauge("sidepool_clients_limit", "Most clients that may be connected; 0 means no limit."),
          now.clients_limit);
  Family refused =
      counter("sidepool_clients_refused_total", "Clients refused because of a limit of sidepool.");
  for (const auto& [limit, n] : registry.refused()) refused.add({{"limit", limit}}, static_cast<double>(n));
  refused.move_to(page);
  add_one(page, counter("sidepool_log_lines_dropped_total", "Log lines lost because their queue was full."),
          static_cast<double>(now.log_lines_dropped));

  const auto config = registry.config_state();
  if (config.tried) {
    add_one(page,
            gauge("sidepool_config_last_reload_successful",
                  "1 if the configuration, and the certificates it names, were valid when last read."),
            config.ok ? 1 : 0);
  }
  if (config.loaded_at != 0) {
    add_one(page,
            gauge("sidepool_config_last_reload_success_timestamp_seconds",
                  "When a valid configuration was last read, in Unix time."),
            static_cast<double>(config.loaded_at));
  }
  add_standard(page);
}

}  // namespace sidepool::metrics
