// What a client hears whose IAM role is not that of the credentials.
#include "src/worker/principal_hint.h"

#include <gtest/gtest.h>

#include "protocol/encode.h"
#include "src/worker/dial_result.h"

namespace sidepool::worker {
namespace {

constexpr std::string_view kPrincipal = "app@proj.iam.gserviceaccount.com";

TEST(PrincipalHint, NamesTheRoleOfThePrincipal) {
  EXPECT_EQ(principal_hint(kPrincipal, "alice@example.com", "28P01"),
            "The IAM principal here is \"app@proj.iam.gserviceaccount.com\": log in as \"app@proj.iam\".");
  // The usual mistake.
  EXPECT_NE(principal_hint(kPrincipal, kPrincipal, "28000").find("log in as \"app@proj.iam\""),
            std::string::npos);
  EXPECT_NE(principal_hint(kPrincipal, "app@proj.iam", "28P01").find("roles/cloudsql.instanceUser"),
            std::string::npos);
}

TEST(PrincipalHint, IsForIamRolesAndRefusalsOnly) {
  EXPECT_EQ(principal_hint(kPrincipal, "alice", "28P01"), "");
  EXPECT_EQ(principal_hint(kPrincipal, "alice@example.com", "53300"), "");
  EXPECT_EQ(principal_hint(kPrincipal, "alice@example.com", "3D000"), "");
  EXPECT_EQ(principal_hint("", "alice@example.com", "28P01"), "");
}

protocol::Buffer with_hint(std::string_view own, std::string_view added) {
  protocol::Buffer sent;
  protocol::error_response(sent, {"FATAL", "28P01", "no", "why", own});
  protocol::Buffer out;
  raw_error(out, protocol::Bytes{sent}.subspan(5), added);
  return out;
}

TEST(RawError, GetsAHintIfItHasNone) {
  const auto message = with_hint({}, "do it");
  EXPECT_EQ(protocol::load_be32(message.data() + 1), message.size() - 1);
  const auto e = protocol::ErrorView::decode(protocol::Bytes{message}.subspan(5));
  ASSERT_TRUE(e);
  EXPECT_EQ(e->code, "28P01");
  EXPECT_EQ(e->message, "no");
  EXPECT_EQ(e->detail, "why");
  EXPECT_EQ(e->hint, "do it");
  protocol::Buffer plain;
  protocol::error_response(plain, {"FATAL", "28P01", "no", "why", "own"});
  EXPECT_EQ(with_hint("own", "do it"), plain) << "the server's own words stay";
}

}  // namespace
}  // namespace sidepool::worker
