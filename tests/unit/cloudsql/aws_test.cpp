// Workloads on AWS: keys and region from the environment or the metadata server, and the signature.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "src/base/rfc3339.h"
#include "src/cloudsql/subject_token.h"
#include "tests/unit/cloudsql/token_fixture.h"

namespace sidepool::cloudsql {
namespace {

using namespace std::chrono_literals;
using test::Call;
using test::FakeGoogle;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kSts =
    "https://sts.us-east-2.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";

WallTime at(const char* date) { return std::chrono::floor<Millis>(*parse_rfc3339(date)); }

std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    out += static_cast<char>(std::stoi(std::string{text.substr(i + 1, 2)}, nullptr, 16));
    i += 2;
  }
  return out;
}

AwsKeys keys(const char* session = "") {
  return {"accessKeyID", SecretText{std::string_view{"secret"}}, SecretText{std::string_view{session}}};
}

// The vectors are those of Google's auth libraries, which agree with AWS's.
TEST(AwsSignature, KnownRequests) {
  const WallTime then = at("2020-08-11T06:55:22Z");
  EXPECT_EQ(
      decoded(sign_aws_request(kSts, "us-east-2", keys("sessionTok"), "", then).view()),
      R"({"headers":[{"key":"Authorization","value":"AWS4-HMAC-SHA256 Credential=accessKeyID/20200811/us-east-2/sts/aws4_request, )"
      R"(SignedHeaders=host;x-amz-date;x-amz-security-token, )"
      R"(Signature=48541de09ff691ab53f9e017f5123ce338fecbadc1b278480bab3af221ca4f38"},)"
      R"({"key":"Host","value":"sts.us-east-2.amazonaws.com"},{"key":"X-Amz-Date","value":"20200811T065522Z"},)"
      R"({"key":"X-Amz-Security-Token","value":"sessionTok"}],"method":"POST",)"
      R"("url":"https://sts.us-east-2.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"})");
  EXPECT_THAT(decoded(sign_aws_request(kSts, "us-east-2", keys(), "", then).view()),
              HasSubstr("SignedHeaders=host;x-amz-date, "
                        "Signature=bff58112d4696faecff9c104c8b7b963141e8b3cc4ba46a0664938fe6d112e41"));
}

TEST(AwsSignature, CoversTheAudienceAndTheQueryInAnyOrder) {
  const WallTime then = at("2020-08-11T06:55:22Z");
  const auto signature = [&](const std::string& url, const std::string& audience) {
    const std::string text = decoded(sign_aws_request(url, "us-east-2", keys(), audience, then).view());
    return text.substr(text.find("Signature="), 74);
  };
  const std::string host = "https://sts.us-east-2.amazonaws.com";
  EXPECT_EQ(signature(host + "/?Version=2011-06-15&Action=GetCallerIdentity", ""), signature(kSts, ""));
  EXPECT_EQ(signature(host + "?Action=Get%43allerIdentity&Version=2011-06-15", ""), signature(kSts, ""));
  EXPECT_NE(signature(kSts, "//iam.googleapis.com/x"), signature(kSts, ""));
  EXPECT_NE(signature(kSts, "//iam.googleapis.com/x"), signature(kSts, "//iam.googleapis.com/y"));
  EXPECT_TRUE(sign_aws_request("http://sts.amazonaws.com", "r", keys(), "", then).empty());
  EXPECT_TRUE(sign_aws_request("https://", "r", keys(), "", then).empty());
}

class Aws : public test::Tokens {
 protected:
  Aws() {
    google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
      if (call.url.find("169.254.169.254") == std::string::npos) return std::nullopt;
      const bool put = call.method == HttpRequest::Method::Put;
      if (call.url.ends_with("/api/token"))
        return Result<HttpResponse>{put && call.header("X-aws-ec2-metadata-token-ttl-seconds: 300")
                                        ? FakeGoogle::json("imds")
                                        : FakeGoogle::json("", 400)};
      if (!call.header("X-aws-ec2-metadata-token: imds"))
        return Result<HttpResponse>{FakeGoogle::json("", 401)};
      if (call.url.ends_with("/availability-zone"))
        return Result<HttpResponse>{FakeGoogle::json("us-east-2b")};
      if (call.url.ends_with("/security-credentials"))
        return Result<HttpResponse>{FakeGoogle::json("my-role")};
      if (call.url.ends_with("/security-credentials/my-role"))
        return Result<HttpResponse>{FakeGoogle::json(
            R"({"AccessKeyId":"imds-key","SecretAccessKey":"imds-s3cret","Token":"imds-session"})")};
      return Result<HttpResponse>{FakeGoogle::json("", 404)};
    });
  }
  CallResult<SecretText> token(const std::string& source, const Environment& env = {}) {
    CredentialOptions options;
    options.json_credentials = SecretText{test::external_json(source)};
    const auto got = load_credentials(options, env);
    EXPECT_TRUE(got) << got.error().what;
    auto shown = fetch_subject_token(std::get<ExternalAccount>(got->source), caller_.caller);
    if (!shown) return tl::unexpected(std::move(shown.error()));
    return std::move(shown->text);
  }
  static Environment environment() {
    Environment env;
    env.aws_region = "eu-west-1";
    env.aws_key_id = "env-key";
    env.aws_secret = SecretText{std::string_view{"env-s3cret"}};
    env.aws_session = SecretText{std::string_view{"env-session"}};
    return env;
  }
  static constexpr const char* kFile = R"({"environment_id":"aws1",
    "region_url":"http://169.254.169.254/latest/meta-data/placement/availability-zone",
    "url":"http://169.254.169.254/latest/meta-data/iam/security-credentials",
    "imdsv2_session_token_url":"http://169.254.169.254/latest/api/token",
    "regional_cred_verification_url":"https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"})";
};

TEST_F(Aws, TheEnvironmentIsEnough) {
  const auto got = token(kFile, environment());
  ASSERT_TRUE(got) << got.error().error.what;
  EXPECT_TRUE(google_.calls().empty());
  const std::string text = decoded(got->view());
  EXPECT_THAT(text, HasSubstr("Credential=env-key/"));
  EXPECT_THAT(text, HasSubstr(R"("url":"https://sts.eu-west-1.amazonaws.com?)"));
  EXPECT_THAT(text, HasSubstr("env-session"));
  EXPECT_THAT(
      text, HasSubstr(R"({"key":"X-Goog-Cloud-Target-Resource","value":"//iam.googleapis.com/projects/1/)"));
  EXPECT_THAT(text, Not(HasSubstr("env-s3cret")));
}

TEST_F(Aws, TheMetadataServerIsAskedInItsSecondVersion) {
  const auto got = token(kFile);
  ASSERT_TRUE(got) << got.error().error.what;
  EXPECT_EQ(google_.calls().size(), 4U);
  for (const Call& call : google_.calls()) EXPECT_FALSE(call.use_proxy);
  const std::string text = decoded(got->view());
  EXPECT_THAT(text, HasSubstr("Credential=imds-key/"));
  EXPECT_THAT(text, HasSubstr("https://sts.us-east-2.amazonaws.com"));
  EXPECT_THAT(text, HasSubstr("imds-session"));
  EXPECT_THAT(text, Not(HasSubstr("imds-s3cret")));
}

TEST_F(Aws, WhatIsMissingIsNamed) {
  Environment env = environment();
  env.aws_region.clear();
  auto got = token(R"({"environment_id":"aws1"})", env);
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().error.what, HasSubstr("AWS_REGION is not set"));
  got = token(R"({"environment_id":"aws1"})");
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().error.what, HasSubstr("AWS_ACCESS_KEY_ID"));
  env.aws_region = "x/../y";
  EXPECT_FALSE(token(kFile, env));
  google_.set_fault([](const Call& call) -> std::optional<Result<HttpResponse>> {
    if (call.url.ends_with("/my-role")) return Result<HttpResponse>{FakeGoogle::json("{}")};
    return Result<HttpResponse>{FakeGoogle::json("my-role")};
  });
  got = token(kFile);
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().error.what, HasSubstr("gives no keys"));
}

}  // namespace
}  // namespace sidepool::cloudsql
