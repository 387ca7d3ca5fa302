// tests/cloudsql_emulator/aws.h -- an EC2 machine's metadata server, and AWS identities as Google's STS takes
// them (cloudsql.md §5.4 d).
#pragma once
#include <optional>
#include <string>

#include "tests/cloudsql_emulator/http_message.h"

namespace sidepool::emulator {

// Version 2 only: a session token first (PUT), then everything with it. The role's keys are constants.
// `path` behind /latest/.
Response aws_metadata(const Request& request, const std::string& path);

// The access key that signed a GetCallerIdentity request for this audience; nullopt if that is not what the
// subject token is. The signature itself is AWS's to judge, and is not looked at.
std::optional<std::string> aws_access_key(const std::string& subject_token, const std::string& audience);

}  // namespace sidepool::emulator
