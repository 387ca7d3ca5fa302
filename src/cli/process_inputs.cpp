// src/cli/process_inputs.cpp -- the environment and the files of this process.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "conf/parse.h"
#include "src/base/limits.h"
#include "src/cli/parse.h"

namespace sidepool::cli {
namespace {

Result<std::string> read_file(const std::string& path, Files files) {
  const auto system_error = [] {
    const int code = errno;
    return fail(Errc::Config, std::generic_category().message(code), code);
  };
  const bool regular = files == Files::Regular;
  struct stat status {};
  std::optional<EndOnSignals> waiting;  // for as long as the other side of a pipe likes
  if (!regular && ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) waiting.emplace();
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | (regular ? O_NONBLOCK : 0));
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(fd < 0 ? nullptr : ::fdopen(fd, "r"),
                                                             std::fclose);
  if (!file) return system_error();
  if (::fstat(fd, &status) != 0) return system_error();
  if (regular && !S_ISREG(status.st_mode)) return fail(Errc::Config, "it is not a regular file");
  // One byte more than is allowed, so that too much is noticed; a pipe has no size to ask for.
  std::string text(conf::kLargestFile + 1, '\0');
  const std::size_t size = std::fread(text.data(), 1, text.size(), file.get());
  if (std::ferror(file.get())) return system_error();
  if (size > conf::kLargestFile) return fail(Errc::Config, "it is larger than 1 MiB");
  text.resize(size);
  return text;
}

}  // namespace

Inputs process_inputs(Files files) {
  return {[](const std::string& name) -> std::optional<std::string> {
            const char* value = std::getenv(name.c_str());
            return value ? std::optional<std::string>(value) : std::nullopt;
          },
          [files](const std::string& path) { return read_file(path, files); }};
}

}  // namespace sidepool::cli
