// tests/unit/cloudsql/token_fixture.h -- tokens fetched from a Google in memory.
#pragma once
#include <gtest/gtest.h>

#include <string>

#include "src/cloudsql/token.h"
#include "tests/unit/cloudsql/credential_texts.h"

namespace sidepool::test {

inline std::string decode_base64url(std::string text) {
  for (char& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
  const std::size_t padding = (4 - text.size() % 4) % 4;
  text.append(padding, '=');
  std::string out(text.size(), '\0');
  const int n =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  EXPECT_GE(n, 0);
  out.resize(static_cast<std::size_t>(n) - padding);
  return out;
}

class Tokens : public testing::Test {
 protected:
  cloudsql::Credentials from_json(std::string json) {
    cloudsql::CredentialOptions options;
    options.json_credentials = cloudsql::SecretText{std::move(json)};
    auto got = cloudsql::load_credentials(options, {});
    EXPECT_TRUE(got) << got.error().what;
    return std::move(*got);
  }
  // Its universe is known, so that a token is one call.
  cloudsql::Credentials metadata(bool assumed = false) {
    return {cloudsql::MetadataServer{"127.0.0.1:99", assumed, "googleapis.com", true}};
  }

  FakeClock clock_;
  FakeGoogle google_{clock_};
  FakeCaller caller_{google_, clock_};
};

}  // namespace sidepool::test
