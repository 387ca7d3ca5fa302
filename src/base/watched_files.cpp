// src/base/watched_files.cpp -- see watched_files.h.
#include "src/base/watched_files.h"

#include <algorithm>
#include <utility>

namespace sidepool {

void WatchedFiles::watch(std::vector<std::string> paths) {
  std::vector<File> next;
  for (auto& path : paths) {
    if (path.empty()) continue;
    const auto known =
        std::find_if(files_.begin(), files_.end(), [&path](const File& f) { return f.path == path; });
    File file{std::move(path)};
    if (known != files_.end()) {
      file.seen = known->seen;
    } else if (::stat(file.path.c_str(), &file.seen) != 0) {
      file.seen = {};
    }
    next.push_back(std::move(file));
  }
  files_ = std::move(next);
}

bool WatchedFiles::changed() {
  bool changed = false;
  for (auto& file : files_) {
    struct stat now {};
    if (::stat(file.path.c_str(), &now) != 0) continue;
    const auto& old = file.seen;
    changed |= now.st_dev != old.st_dev || now.st_ino != old.st_ino || now.st_size != old.st_size ||
               now.st_mtim.tv_sec != old.st_mtim.tv_sec || now.st_mtim.tv_nsec != old.st_mtim.tv_nsec ||
               now.st_mode != old.st_mode || now.st_uid != old.st_uid || now.st_gid != old.st_gid;
    file.seen = now;
  }
  return changed;
}

}  // namespace sidepool
