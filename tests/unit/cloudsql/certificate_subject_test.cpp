// Workload identity federation by certificate: which files are read, what the STS sees, what is refused.
#include "src/cloudsql/certificate_subject.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/cloudsql/encode.h"
#include "tests/unit/cloudsql/token_fixture.h"

namespace sidepool::cloudsql {
namespace {

using test::external_json;
using test::Identity;
using test::make_identity;
using test::pem;
using testing::HasSubstr;

std::string in_base64(X509* cert) {
  unsigned char* der = nullptr;
  const int n = i2d_X509(cert, &der);
  std::string out = base64({reinterpret_cast<const char*>(der), static_cast<std::size_t>(n)});
  OPENSSL_free(der);
  return out;
}

class CertificateSource : public test::Tokens {
 protected:
  void SetUp() override { write_leaf(leaf_); }

  void write_leaf(const Identity& leaf) {
    certificate_ = dir_.file("leaf.pem", pem(leaf.cert.get()));
    key_ = dir_.file("key.pem", pem(leaf.key.get()));
    config_ = dir_.file("config.json", R"({"cert_configs":{"workload":{"cert_path":")" + certificate_ +
                                           R"(","key_path":")" + key_ + R"("}}})");
  }
  Result<CertificateProof> proof(const std::string& trust_chain = "") const {
    return read_certificate_proof({config_, trust_chain});
  }
  std::string error(const std::string& trust_chain = "") const {
    const auto got = proof(trust_chain);
    return got ? "no error" : got.error().what;
  }

  test::TempDir dir_;
  const Identity root_ = make_identity({.cn = "root", .ca = true});
  const Identity issuer_ = make_identity({.cn = "issuer", .ca = true}, &root_);
  const Identity leaf_ = make_identity({.cn = "workload"}, &issuer_);
  std::string certificate_, key_, config_;
};

TEST_F(CertificateSource, TheExchangeShowsTheCertificateTwice) {
  CredentialOptions options;
  options.json_credentials =
      SecretText{external_json(R"({"certificate":{"certificate_config_location":")" + config_ + R"("}})")};
  auto credentials = load_credentials(options, {});
  ASSERT_TRUE(credentials) << credentials.error().what;
  ASSERT_TRUE(fetch_token(*credentials, Scope::Admin, caller_.caller));
  const auto call = google_.calls().at(0);
  EXPECT_EQ(call.certificates, pem(leaf_.cert.get()));
  EXPECT_THAT(
      call.body,
      HasSubstr("&subject_token=" + percent_encode("[\"" + in_base64(leaf_.cert.get()) + "\"]") + "&"));

  const Identity next = make_identity({.cn = "workload"}, &issuer_);
  write_leaf(next);
  ASSERT_TRUE(fetch_token(*credentials, Scope::Admin, caller_.caller));
  EXPECT_EQ(google_.calls().at(1).certificates, pem(next.cert.get())) << "files are read at each exchange";
}

TEST_F(CertificateSource, OtherSourcesShowNone) {
  CredentialOptions options;
  options.json_credentials = SecretText{external_json(R"({"file":")" + dir_.file("token", "t") + R"("})")};
  auto credentials = load_credentials(options, {});
  ASSERT_TRUE(credentials);
  ASSERT_TRUE(fetch_token(*credentials, Scope::Admin, caller_.caller));
  EXPECT_EQ(google_.calls().at(0).certificates, "");
}

TEST_F(CertificateSource, TheConfigurationIsFoundAsGooglesLibrariesFindIt) {
  const auto found = [](const std::string& source, const Environment& env) {
    CredentialOptions options;
    options.json_credentials = SecretText{external_json(R"({"certificate":)" + source + "}")};
    auto got = load_credentials(options, env);
    EXPECT_TRUE(got) << got.error().what;
    return std::get<CertificateSubject>(std::get<ExternalAccount>(got->source).subject);
  };
  Environment env;
  env.home = "/home/me";
  const std::string by_default = R"({"use_default_certificate_config":true})";
  EXPECT_EQ(found(by_default, env).config_file, "/home/me/.config/gcloud/certificate_config.json");
  env.certificate_config = "/etc/named.json";
  EXPECT_EQ(found(by_default, env).config_file, "/etc/named.json");
  const auto given = found(R"({"certificate_config_location":"/c.json","trust_chain_path":"/t.pem"})", env);
  EXPECT_EQ(given.config_file, "/c.json");
  EXPECT_EQ(given.trust_chain, "/t.pem");
}

TEST_F(CertificateSource, TheStsOfCertificatesHasItsOwnHost) {
  const auto url = [this](const std::string& source) {
    CredentialOptions options;
    options.json_credentials = SecretText{
        R"({"type":"external_account","audience":"a","subject_token_type":"t","credential_source":)" +
        source + "}"};
    auto credentials = load_credentials(options, {});
    EXPECT_TRUE(credentials) << credentials.error().what;
    return std::get<ExternalAccount>(credentials->source).token_url;
  };
  EXPECT_EQ(url(R"({"certificate":{"use_default_certificate_config":true}})"),
            "https://sts.mtls.googleapis.com/v1/token");
  EXPECT_EQ(url(R"({"file":"f"})"), "https://sts.googleapis.com/v1/token");
}

TEST_F(CertificateSource, TheTrustChainFollowsTheLeaf) {
  const std::string leaf = pem(leaf_.cert.get()), issuer = pem(issuer_.cert.get());
  const std::string wanted =
      "[\"" + in_base64(leaf_.cert.get()) + "\",\"" + in_base64(issuer_.cert.get()) + "\"]";
  for (const std::string& text : {issuer, leaf + issuer}) {
    const auto got = proof(dir_.file("chain.pem", text));
    ASSERT_TRUE(got) << got.error().what;
    EXPECT_EQ(got->subject_token, wanted);
  }
  EXPECT_THAT(error(dir_.file("chain.pem", issuer + leaf)),
              HasSubstr("is not the first one of the trust chain"));
  for (const char* text : {"", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"})
    EXPECT_THAT(error(dir_.file("chain.pem", text)), HasSubstr("is not a list of certificates in PEM"))
        << text;
  EXPECT_THAT(error("/nonexistent/chain.pem"), HasSubstr("cannot read the trust chain: open /nonexistent"));
}

TEST_F(CertificateSource, WhatCannotBeUsedIsNamed) {
  for (const char* text :
       {"", "{}", R"({"cert_configs":[]})", R"({"cert_configs":{"workload":{"cert_path":"c"}}})"}) {
    config_ = dir_.file("config.json", text);
    EXPECT_THAT(error(), HasSubstr(config_ + " lacks cert_configs.workload")) << text;
  }
  for (const char* text :
       {R"({"cert_configs":{"workload":{"use_ecp":true}}})", R"({"cert_configs":{"pkcs11":{}},"libs":{}})"}) {
    config_ = dir_.file("config.json", text);
    EXPECT_THAT(error(), HasSubstr("Enterprise Certificate Proxy, which is not supported")) << text;
  }
  write_leaf(leaf_);
  dir_.file("leaf.pem", "half of it");
  EXPECT_EQ(error(), certificate_ + " is not a certificate in PEM");
  write_leaf(leaf_);
  dir_.file("key.pem", pem(issuer_.key.get()));
  EXPECT_EQ(error(), "the certificate " + certificate_ + " does not belong to the key " + key_);
  dir_.file("key.pem", "s3cret");
  EXPECT_EQ(error(), key_ + " is not a private key in PEM without a pass phrase");
  config_ = "/nonexistent/config.json";
  EXPECT_THAT(error(), HasSubstr("cannot read the certificate configuration: open /nonexistent"));
}

}  // namespace
}  // namespace sidepool::cloudsql
