// cloudsql/secret_file.h -- files that hold secrets: read whole, bounded, and recognised when they are
// replaced.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "src/base/result.h"
#include "src/cloudsql/secret.h"

namespace sidepool::cloudsql {

inline constexpr std::size_t kMaxSecretFile = 1 << 20;  // credential files have 2 to 3 KiB

// Which content a path has: another file put in its place (also behind a symbolic link, as Kubernetes renews
// mounted secrets) or one written anew has another stamp.
struct FileStamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  std::int64_t modified_ns = 0;
  std::int64_t changed_ns = 0;  // also moves when the times are set by hand, as `cp -p` and tar do
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};
// nullopt: there is no such file, or it is no regular one.
std::optional<FileStamp> stamp_of(const std::string& path);

struct SecretFile {
  SecretText text;
  std::optional<FileStamp> stamp;  // nullopt: no regular file (a pipe), which can be read only once
};
enum class FileKind : std::uint8_t {
  Regular,    // anything else is an error, and never waited for
  MayBePipe,  // a shell's <(…): waits until the other side has written it
};
// Errors name the path and the system's reason, "open PATH: No such file or directory", and have no prefix.
Result<SecretFile> read_secret_file(const std::string& path, FileKind kind);

}  // namespace sidepool::cloudsql
