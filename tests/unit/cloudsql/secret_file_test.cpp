// Files with secrets: bounded, never waited for, and recognised when they are replaced.
#include "src/cloudsql/secret_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/unit/cloudsql/pki.h"

namespace sidepool::cloudsql {
namespace {

class SecretFiles : public testing::Test {
 protected:
  test::TempDir dir_;
};

TEST_F(SecretFiles, AreReadWhole) {
  const std::string path = dir_.file("f", "text");
  const auto got = read_secret_file(path, FileKind::Regular);
  ASSERT_TRUE(got) << got.error().what;
  EXPECT_EQ(got->text.view(), "text");
  EXPECT_EQ(got->stamp, stamp_of(path));
  EXPECT_TRUE(read_secret_file(dir_.file("empty", ""), FileKind::Regular)->text.empty());
  EXPECT_EQ(read_secret_file(dir_.file("big", std::string(kMaxSecretFile, 'x')), FileKind::Regular)
                ->text.view()
                .size(),
            kMaxSecretFile);
  EXPECT_FALSE(read_secret_file(dir_.file("big", std::string(kMaxSecretFile + 1, 'x')), FileKind::Regular));
}

TEST_F(SecretFiles, OtherThingsAreErrors) {
  const std::string pipe = dir_.path() + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(read_secret_file(pipe, FileKind::Regular).error().what, pipe + " is not a regular file");
  EXPECT_EQ(read_secret_file(dir_.path(), FileKind::MayBePipe).error().what,
            "read " + dir_.path() + ": Is a directory");
  EXPECT_EQ(read_secret_file("/nonexistent/f", FileKind::Regular).error().what,
            "open /nonexistent/f: No such file or directory");
  EXPECT_EQ(stamp_of(pipe), std::nullopt);
  EXPECT_EQ(stamp_of("/nonexistent/f"), std::nullopt);
}

TEST_F(SecretFiles, AStampTellsAReplacedFile) {
  const std::string path = dir_.file("f", "one");
  const auto before = stamp_of(path);
  EXPECT_EQ(stamp_of(path), before);
  std::filesystem::rename(dir_.file("g", "two"), path);
  EXPECT_NE(stamp_of(path), before) << "another inode";

  // As Kubernetes mounts secrets: the name leads through a folder that is a symbolic link.
  dir_.file("v1/key", "one");
  dir_.file("v2/key", "two");
  const std::string data = dir_.path() + "/data";
  std::filesystem::create_directory_symlink("v1", data);
  const auto first = stamp_of(data + "/key");
  std::filesystem::create_directory_symlink("v2", data + ".next");
  std::filesystem::rename(data + ".next", data);
  EXPECT_NE(stamp_of(data + "/key"), first);
}

}  // namespace
}  // namespace sidepool::cloudsql
