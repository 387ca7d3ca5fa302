// md5 authentication and stored secrets.
#include "protocol/password.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace sidepool::protocol {
namespace {

constexpr std::string_view kHash = "md584b4c0d9a7a9e8e3fe0b2c9e3ad2d4c5";  // only the form counts
constexpr std::string_view kVerifier =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
constexpr std::array<std::uint8_t, 4> kSalt{0x01, 0x02, 0xfe, 0xff};

TEST(Password, Classification) {
  EXPECT_EQ(classify_secret(kHash), SecretKind::Md5);
  EXPECT_EQ(classify_secret(kVerifier), SecretKind::Scram);
  for (const auto plain :
       {"", "secret", "md5", "md584b4c0d9a7a9e8e3fe0b2c9e3ad2d4cX", "MD584b4c0d9a7a9e8e3fe0b2c9e3ad2d4c5",
        "md584b4c0d9a7a9e8e3fe0b2c9e3ad2d4c55", "SCRAM-SHA-256$", "SCRAM-SHA-256$4096:x$y:z"}) {
    EXPECT_EQ(classify_secret(plain), SecretKind::Plain) << plain;
  }
}

TEST(Password, Md5AsTheManualSays) {
  // md5("secret" "alice") and md5(that + 01 02 fe ff), by md5sum.
  const auto hash = md5_hash("secret", "alice");
  ASSERT_TRUE(hash);
  EXPECT_EQ(hash->view(), "md54a0a68b43b6cd5cf266fa02f196e2371");
  const auto response = md5_response(hash->view(), kSalt);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->view(), "md5e9b7072d7c7ccc7b5f9a7b7d60c9a2f9");
  EXPECT_FALSE(md5_response("secret", kSalt));
  EXPECT_FALSE(md5_response(kVerifier, kSalt));
}

TEST(Password, CheckMd5) {
  const auto hash = md5_hash("secret", "alice");
  const auto good = md5_response(hash->view(), kSalt);
  EXPECT_TRUE(check_md5("secret", "alice", kSalt, good->view()));
  EXPECT_TRUE(check_md5(hash->view(), "alice", kSalt, good->view()));
  EXPECT_FALSE(check_md5("secret", "bob", kSalt, good->view()));
  EXPECT_FALSE(check_md5("Secret", "alice", kSalt, good->view()));
  EXPECT_FALSE(check_md5(kVerifier, "alice", kSalt, good->view()));
  EXPECT_FALSE(check_md5(hash->view(), "alice", kSalt, hash->view())) << "the stored hash is no answer";
  const std::array<std::uint8_t, 4> other{};
  EXPECT_FALSE(check_md5("secret", "alice", other, good->view()));
  const auto of_empty = md5_response(md5_hash("", "alice")->view(), kSalt);
  EXPECT_FALSE(check_md5("", "alice", kSalt, of_empty->view()));
  EXPECT_FALSE(check_md5("secret", "alice", kSalt, ""));
}

TEST(Password, CheckCleartext) {
  EXPECT_TRUE(check_cleartext("secret", "alice", "secret"));
  EXPECT_TRUE(check_cleartext(md5_hash("secret", "alice")->view(), "alice", "secret"));
  EXPECT_TRUE(check_cleartext(kVerifier, "alice", "pencil"));
  EXPECT_FALSE(check_cleartext("secret", "alice", "secre"));
  EXPECT_FALSE(check_cleartext(md5_hash("secret", "alice")->view(), "bob", "secret"));
  EXPECT_FALSE(check_cleartext(kVerifier, "alice", "pencils"));
  EXPECT_FALSE(check_cleartext(kVerifier, "alice", kVerifier)) << "a stolen verifier is no password";
  EXPECT_FALSE(check_cleartext(kHash, "alice", kHash));
  EXPECT_FALSE(check_cleartext("", "alice", ""));
  EXPECT_FALSE(check_cleartext("secret", "alice", ""));
}

}  // namespace
}  // namespace sidepool::protocol
