#include "src/cloudsql/client_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/rsa.h>

namespace sidepool::cloudsql {
namespace {

using PkeyCtxPtr = std::unique_ptr<EVP_PKEY_CTX, tls::OpensslFree<EVP_PKEY_CTX_free>>;

TEST(ClientKey, IsAWholeRsaKeyOf2048Bits) {
  const auto key = make_client_key();
  ASSERT_NE(key, nullptr);
  EXPECT_EQ(EVP_PKEY_get_bits(key.get()), 2048);
  EXPECT_EQ(EVP_PKEY_get_base_id(key.get()), EVP_PKEY_RSA);
  const PkeyCtxPtr check{EVP_PKEY_CTX_new(key.get(), nullptr)};
  EXPECT_EQ(EVP_PKEY_check(check.get()), 1);  // primes, exponents and coefficient fit together
}

TEST(ClientKey, IsANewOneEachTime) {
  const auto one = make_client_key(), other = make_client_key();
  ASSERT_TRUE(one && other);
  EXPECT_EQ(EVP_PKEY_eq(one.get(), other.get()), 0);
}

TEST(ClientKey, IsPrintedUnderTheLabelThatTheApiTakes) {
  const auto text = public_key_pem(make_client_key().get());
  EXPECT_THAT(text, testing::StartsWith("-----BEGIN RSA PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"));
  EXPECT_THAT(text, testing::EndsWith("-----END RSA PUBLIC KEY-----\n"));
}

}  // namespace
}  // namespace sidepool::cloudsql
