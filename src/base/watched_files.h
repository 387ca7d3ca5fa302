// src/base/watched_files.h -- which of the files that the configuration is made of have changed.
#pragma once
#include <sys/stat.h>

#include <string>
#include <vector>

namespace sidepool {

// Looks at inode, size, time of change, owner and mode, through symbolic links: what editors, ConfigMaps and
// those who renew certificates do shows in one of them, also a chmod behind the copy. One thread.
class WatchedFiles {
 public:
  // Replaces the list. Of those watched already what was last seen is kept.
  void watch(std::vector<std::string> paths);
  // Whether one is not what it was when it was last looked at. One that is not there, between two states of
  // an editor, is as it was.
  bool changed();

 private:
  struct File {
    std::string path;
    struct stat seen {};
  };
  std::vector<File> files_;
};

}  // namespace sidepool
