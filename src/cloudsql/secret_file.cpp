// cloudsql/secret_file.cpp -- see the header.
#include "src/cloudsql/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "src/io/fd.h"

namespace sidepool::cloudsql {
namespace {

std::int64_t nanoseconds(const timespec& t) {
  return std::int64_t{t.tv_sec} * 1'000'000'000 + std::int64_t{t.tv_nsec};
}

std::optional<FileStamp> stamp_of(const struct stat& s) {
  if (!S_ISREG(s.st_mode)) return std::nullopt;
  return FileStamp{s.st_dev, s.st_ino, s.st_size, nanoseconds(s.st_mtim), nanoseconds(s.st_ctim)};
}

tl::unexpected<Error> cannot(const char* verb, const std::string& path, int code) {
  return fail(Errc::Config, std::string{verb} + " " + path + ": " + std::strerror(code), code, "credentials");
}

}  // namespace

std::optional<FileStamp> stamp_of(const std::string& path) {
  struct stat s {};
  if (::stat(path.c_str(), &s) != 0) return std::nullopt;
  return stamp_of(s);
}

Result<SecretFile> read_secret_file(const std::string& path, FileKind kind) {
  const int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | (kind == FileKind::Regular ? O_NONBLOCK : 0);
  const io::Fd fd{::open(path.c_str(), flags)};
  if (fd.get() < 0) return cannot("open", path, errno);
  struct stat s {};
  if (::fstat(fd.get(), &s) != 0) return cannot("stat", path, errno);
  if (S_ISDIR(s.st_mode)) return cannot("read", path, EISDIR);
  if (kind == FileKind::Regular && !S_ISREG(s.st_mode))
    return fail(Errc::Config, path + " is not a regular file", 0, "credentials");
  std::string text;
  text.resize(kMaxSecretFile + 1);  // at once, so that no copy is left behind by growing
  std::size_t have = 0;
  while (have < text.size()) {
    const ssize_t n = ::read(fd.get(), text.data() + have, text.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int code = errno;
      wipe(text);
      return cannot("read", path, code);
    }
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  const bool too_large = have > kMaxSecretFile;
  text.resize(have);
  SecretFile out{SecretText{std::move(text)}, stamp_of(s)};
  if (too_large) return fail(Errc::Config, path + " is larger than 1 MiB", 0, "credentials");
  return out;
}

}  // namespace sidepool::cloudsql
