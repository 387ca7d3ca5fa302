// src/base/cgroup.cpp -- reads /proc/self/cgroup and the quota files of every level.
#include "src/base/cgroup.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>
#include <string_view>

namespace sidepool {

namespace fs = std::filesystem;

namespace {

std::optional<std::int64_t> number(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  std::int64_t v = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return v;
}

std::optional<std::string> first_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  return line;
}

std::optional<double> cpus(std::optional<std::int64_t> quota, std::optional<std::int64_t> period) {
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

std::optional<double> quota_v2(const fs::path& group) {
  const auto line = first_line(group / "cpu.max");
  if (!line) return std::nullopt;
  const auto space = line->find(' ');
  if (space == std::string::npos) return std::nullopt;
  return cpus(number(std::string_view(*line).substr(0, space)),
              number(std::string_view(*line).substr(space + 1)));
}

std::optional<double> quota_v1(const fs::path& group) {
  const auto quota = first_line(group / "cpu.cfs_quota_us");
  const auto period = first_line(group / "cpu.cfs_period_us");
  if (!quota || !period) return std::nullopt;
  return cpus(number(*quota), number(*period));
}

// The smallest quota from `path` (as in /proc/self/cgroup, "/a/b") up to the mount point.
template <class Read>
std::optional<double> smallest(const fs::path& mount, std::string_view path, Read read) {
  std::optional<double> least;
  const auto relative = fs::path(path).relative_path().lexically_normal();
  // In a container the path may be the host's, which is not there: then only the levels that exist count.
  for (fs::path at = relative;; at = at.parent_path()) {
    if (const auto q = read(mount / at)) least = std::min(least.value_or(*q), *q);
    if (at.empty() || at == ".") return least;
  }
}

bool names_cpu(std::string_view controllers) {
  while (!controllers.empty()) {
    const auto comma = controllers.find(',');
    if (controllers.substr(0, comma) == "cpu") return true;
    controllers.remove_prefix(comma == std::string_view::npos ? controllers.size() : comma + 1);
  }
  return false;
}

}  // namespace

std::optional<double> cgroup_cpu_quota(const fs::path& root) {
  const fs::path mount = root / "sys/fs/cgroup";
  std::optional<double> least;
  const auto consider = [&](std::optional<double> q) {
    if (q) least = std::min(least.value_or(*q), *q);
  };
  // Lines are hierarchy-ID:controllers:path; version 2 has "0::path" (cgroups(7)).
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto a = line.find(':');
    const auto b = a == std::string::npos ? a : line.find(':', a + 1);
    if (b == std::string::npos) continue;
    const auto controllers = std::string_view(line).substr(a + 1, b - a - 1);
    const auto path = std::string_view(line).substr(b + 1);
    if (controllers.empty()) {
      consider(smallest(mount, path, quota_v2));
      consider(smallest(mount / "unified", path, quota_v2));
    } else if (names_cpu(controllers)) {
      consider(smallest(mount / "cpu", path, quota_v1));
      if (controllers != "cpu") consider(smallest(mount / controllers, path, quota_v1));
    }
  }
  return least;
}

}  // namespace sidepool
