// Where secrets may travel.
#include <gtest/gtest.h>

#include "src/cloudsql/http.h"

namespace sidepool::cloudsql {
namespace {

TEST(LoopbackUrl, Table) {
  for (const char* url :
       {"http://127.0.0.1/", "https://127.9.9.9:8080/x", "http://localhost:1", "http://[::1]:80/"})
    EXPECT_TRUE(is_loopback_url(url)) << url;
  for (const char* url : {"", "127.0.0.1", "http://10.0.0.1/", "http://127.0.0.1.evil.com/",
                          "http://localhost.evil/", "http://127.0.0.1@evil.com/", "http://[::2]/"})
    EXPECT_FALSE(is_loopback_url(url)) << url;
}

TEST(PrivateUrl, Table) {
  for (const char* url : {"https://sts.googleapis.com/v1/token", "https://10.0.0.1", "http://127.0.0.1:1/",
                          "http://[::1]/", "HTTPS://a/"}) {
    EXPECT_TRUE(is_private_url(url)) << url;
    EXPECT_TRUE(is_private_or_metadata_url(url)) << url;
  }
  for (const char* url : {"http://169.254.169.254/latest", "http://169.254.170.2/",
                          "http://[fd00:ec2::254]/x", "http://[fe80::1]/"}) {
    EXPECT_FALSE(is_private_url(url)) << url;
    EXPECT_TRUE(is_private_or_metadata_url(url)) << url;
  }
  for (const char* url :
       {"", "https://", "nonsense", "http://sts.googleapis.com/", "http://10.0.0.1/", "ftp://127.0.0.1/",
        "file:///etc/passwd", "http://169.254.169.254.evil.com/", "http://169.254.169.254@evil.com/",
        "http://[fd00:ec2::255]/", "//127.0.0.1/", "http://169.255.169.254/"}) {
    EXPECT_FALSE(is_private_url(url)) << url;
    EXPECT_FALSE(is_private_or_metadata_url(url)) << url;
  }
}

}  // namespace
}  // namespace sidepool::cloudsql
