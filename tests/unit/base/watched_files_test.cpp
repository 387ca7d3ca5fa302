// tests/unit/base/watched_files_test.cpp -- files as editors, ConfigMaps and certificate renewals change
// them.
#include "src/base/watched_files.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace sidepool {
namespace {

namespace fs = std::filesystem;

class WatchedFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "sp-watch-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    const auto path = folder_ / name;
    std::ofstream(path) << text;
    return path.string();
  }

  fs::path folder_;
  WatchedFiles files_;
};

TEST_F(WatchedFilesTest, AChangeIsSeenOnce) {
  const auto a = write("a", "1"), b = write("b", "1");
  files_.watch({a, "", b});
  EXPECT_FALSE(files_.changed());
  write("b", "longer");
  EXPECT_TRUE(files_.changed());
  EXPECT_FALSE(files_.changed());
}

TEST_F(WatchedFilesTest, AFileThatIsReplacedOrPointsElsewhere) {
  const auto link = (folder_ / "link").string();
  write("one", "x"), write("two", "x");
  fs::create_symlink("one", link);
  files_.watch({link});
  EXPECT_FALSE(files_.changed());
  fs::create_symlink("two", folder_ / "next");
  fs::rename(folder_ / "next", link);
  EXPECT_TRUE(files_.changed());
}

TEST_F(WatchedFilesTest, AFileThatBecomesReadable) {
  const auto a = write("a", "1");
  fs::permissions(a, fs::perms::none);
  files_.watch({a});
  EXPECT_FALSE(files_.changed());
  fs::permissions(a, fs::perms::owner_read);
  EXPECT_TRUE(files_.changed());
}

TEST_F(WatchedFilesTest, AFileThatIsAwayIsAsItWas) {
  const auto a = write("a", "1");
  files_.watch({a, (folder_ / "never").string()});
  fs::rename(a, folder_ / "aside");
  EXPECT_FALSE(files_.changed());
  fs::rename(folder_ / "aside", a);
  EXPECT_FALSE(files_.changed());
  write("never", "now");
  EXPECT_TRUE(files_.changed()) << "it has come";
}

TEST_F(WatchedFilesTest, ANewListForgetsNoChange) {
  const auto a = write("a", "1"), b = write("b", "1");
  files_.watch({a});
  write("a", "changed");
  files_.watch({b, a});
  EXPECT_TRUE(files_.changed()) << "of what was watched before";
  EXPECT_FALSE(files_.changed()) << "what is new in the list is as it is";
}

}  // namespace
}  // namespace sidepool
