// tests/cloudsql_emulator/aws.cpp -- see the header.
#include "tests/cloudsql_emulator/aws.h"

#include <cctype>

#include "tests/cloudsql_emulator/json.h"

namespace sidepool::emulator {
namespace {

constexpr char kSession[] = "emulated-imds-session";
constexpr char kRole[] = "emulated-role";

Response text(int status, std::string body) {
  return Response{status, {{"Content-Type", "text/plain"}}, std::move(body)};
}

}  // namespace

Response aws_metadata(const Request& request, const std::string& path) {
  if (path == "api/token") {
    const bool asked =
        request.method == "PUT" && !request.header("X-aws-ec2-metadata-token-ttl-seconds").empty();
    return asked ? text(200, kSession) : text(400, "Bad Request");
  }
  if (request.header("X-aws-ec2-metadata-token") != kSession) return text(401, "Unauthorized");
  const std::string role = "meta-data/iam/security-credentials";
  if (path == "meta-data/placement/availability-zone") return text(200, "us-east-2b");
  if (path == role || path == role + "/") return text(200, kRole);
  if (path != role + "/" + kRole) return text(404, "Not Found");
  Json keys;
  keys["Code"] = "Success";
  keys["Type"] = "AWS-HMAC";
  keys["AccessKeyId"] = "ASIAEMULATOR";
  keys["SecretAccessKey"] = "emulated-aws-secret-key";
  keys["Token"] = "emulated-aws-session";
  return json_response(200, keys);
}

std::optional<std::string> aws_access_key(const std::string& subject_token, const std::string& audience) {
  const auto call = Json::parse(percent_decode(subject_token, true));
  if (!call || call->text("method") != "POST") return std::nullopt;
  const std::string url = call->text("url");
  if (!url.starts_with("https://sts.") || url.find("Action=GetCallerIdentity") == std::string::npos)
    return std::nullopt;
  const Json* headers = call->find("headers");
  if (headers == nullptr || headers->array() == nullptr) return std::nullopt;
  bool meant_for_us = false;
  std::string key;
  for (const Json& header : *headers->array()) {
    std::string name = header.text("key");
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const std::string value = header.text("value");
    if (name == "x-goog-cloud-target-resource") meant_for_us = value == audience;
    const std::string scheme = "AWS4-HMAC-SHA256 Credential=";
    if (name == "authorization" && value.starts_with(scheme))
      key = value.substr(scheme.size(), value.find('/') - scheme.size());
  }
  if (!meant_for_us || key.empty()) return std::nullopt;
  return key;
}

}  // namespace sidepool::emulator
