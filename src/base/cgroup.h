// src/base/cgroup.h -- how much CPU this process may use.
#pragma once
#include <filesystem>
#include <optional>

namespace sidepool {

// CPUs granted by the CPU quota of the process's control group and the groups above it (v2 `cpu.max`, v1
// `cpu.cfs_quota_us`; Linux Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst): the
// smallest counts. nullopt: no quota, or files that are missing or unreadable, as in gVisor. `root` is "/"
// outside of tests.
std::optional<double> cgroup_cpu_quota(const std::filesystem::path& root = "/");

}  // namespace sidepool
