// tests/unit/worker/client_error_test.cpp -- what a client that may be a stranger is told of a failure.
#include <gtest/gtest.h>

#include "src/worker/dial_result.h"

namespace sidepool::worker {
namespace {

TEST(ClientError, SaysWhyAndNotWhere) {
  const std::string where = "cannot connect to 10.1.2.3:5432";
  const std::pair<Error, const char*> cases[] = {
      {{Errc::Io, 111, where + ": Connection refused", "refused"},
       "cannot connect to the database: it refuses connections"},
      {{Errc::Timeout, 110, where + ": no answer in time", "timeout"},
       "cannot connect to the database: it does not answer in time"},
      {{Errc::Io, 113, where, "unreachable"}, "cannot connect to the database: there is no route to it"},
      {{Errc::Io, 0, "cannot resolve \"db.internal\"", "dns"},
       "cannot connect to the database: its host name cannot be resolved"},
      {{Errc::Tls, 0, "TLS with db.internal failed", "tls"},
       "cannot connect to the database: TLS with it failed"},
      {{Errc::Tls, 0, "the certificate of 10.1.2.3", "certificate"},
       "cannot connect to the database: its certificate was not accepted"},
      {{Errc::Io, 5, where, "a word nobody knows"}, "cannot connect to the database"},
      {{Errc::Api, 0, "request to sqladmin.internal failed", "connect"},
       "the Cloud SQL instance cannot be used: no connection to the API can be made"},
      {{Errc::Api, 0, "request to sqladmin.internal failed", "timeout"},
       "the Cloud SQL instance cannot be used: the API does not answer in time"},
  };
  for (const auto& [error, message] : cases) {
    const auto told = for_client(error);
    EXPECT_EQ(told.message, message);
    EXPECT_EQ(told.sqlstate, "08001");
    EXPECT_EQ(told.detail, "");
  }
}

TEST(ClientError, KeepsFilesOfCredentialsToItself) {
  const auto told = for_client({Errc::Config, 2, "open /secret/key.json: No such file", "credentials"});
  EXPECT_EQ(told.message, "sidepool has no usable credentials for the Cloud SQL instance");
  EXPECT_EQ(told.detail, "");
  EXPECT_EQ(told.sqlstate, "28000");
}

TEST(ClientError, GoogleIsQuoted) {
  const auto told =
      for_client({Errc::Api, 403,
                  "failed to get instance metadata: googleapi: Error 403: Not authorized., notAuthorized",
                  "notAuthorized"});
  EXPECT_EQ(told.sqlstate, "28000");
  EXPECT_EQ(told.message, "the Cloud SQL instance cannot be used: notAuthorized");
  EXPECT_NE(told.detail.find("Error 403: Not authorized."), std::string::npos);
  EXPECT_NE(told.hint.find("roles/cloudsql.client"), std::string::npos);
  EXPECT_EQ(for_client({Errc::Api, 404, "no", "instanceDoesNotExist"}).sqlstate, "08001");
  EXPECT_EQ(for_client({Errc::Auth, 400, "token endpoint: Error 400", "invalid_grant"}).sqlstate, "28000");
}

TEST(ClientError, ClassesOfFailures) {
  EXPECT_EQ(for_client({Errc::Limit, 0, "too many server connections", "limit"}).sqlstate, "53300");
  EXPECT_EQ(for_client({Errc::Config, 0, "instance does not have IP of type", "no_address"}).sqlstate,
            "08001");
  EXPECT_EQ(for_client({Errc::Io, 0, "sidepool is stopping", "stopped"}).sqlstate, "57P03");
  const auto listener = for_client({Errc::Auth, 0, "this listener may not use a login", "listener"});
  EXPECT_EQ(listener.sqlstate, "28000");
  EXPECT_EQ(listener.message, "this listener may not use a login");
  EXPECT_NE(listener.hint.find("allow_remote"), std::string::npos);
}

}  // namespace
}  // namespace sidepool::worker
