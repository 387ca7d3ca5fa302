// tests/cloudsql_emulator/principals.h -- who exists, which tokens were given to whom, and who may do what.
#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "tests/cloudsql_emulator/openssl_types.h"

namespace sidepool::emulator {

inline constexpr char kAdminScope[] = "https://www.googleapis.com/auth/sqlservice.admin";
inline constexpr char kLoginScope[] = "https://www.googleapis.com/auth/sqlservice.login";
inline constexpr char kPlatformScope[] = "https://www.googleapis.com/auth/cloud-platform";

struct Token {
  std::string principal;
  std::vector<std::string> scopes;
  std::int64_t expires_at = 0;             // seconds since 1970
  bool has(std::string_view scope) const;  // cloud-platform has them all
};

struct IssuedToken {
  std::string token;
  std::int64_t lifetime_s = 0;
};

// cloudsql.md §4.3: a service account's role is its e-mail without ".gserviceaccount.com"; a person's is the
// e-mail in lower case; 63 bytes at most.
std::string role_of(std::string_view principal);

// Thread-safe.
class Principals {
 public:
  struct Rights {
    bool connect = true;                     // cloudsql.instances.connect
    bool login = true;                       // cloudsql.instances.login
    std::vector<std::string> impersonators;  // empty: anybody may
  };

  void add(const std::string& email);
  void set_rights(const std::string& email, const Rights& rights);
  std::optional<Rights> rights(const std::string& email) const;
  std::vector<std::string> emails() const;
  // Whom the metadata server speaks for; empty: there is no service account.
  void set_attached(const std::string& email);
  std::string attached() const;
  // The principal whose role this is, if there is one.
  std::optional<std::string> principal_of_role(std::string_view role) const;

  // Makes a key pair; the private half is returned for a credentials file and not kept.
  struct ServiceAccountKey {
    std::string private_key_pem;
    std::string key_id;
  };
  ServiceAccountKey add_service_account_key(const std::string& email);
  Status add_public_key(const std::string& email, const std::string& key_id, std::string_view pem);

  struct UserCredentials {
    std::string client_id;
    std::string client_secret;
    std::string refresh_token;
  };
  UserCredentials add_user(const std::string& email);
  void add_subject_token(const std::string& subject_token, const std::string& principal);
  void add_static_token(const std::string& token, const Token& meaning);

  IssuedToken issue(const std::string& principal, const std::vector<std::string>& scopes,
                    std::int64_t lifetime_s = 0);
  // Unknown and expired tokens are nullopt.
  std::optional<Token> lookup(std::string_view token) const;
  void revoke_all();
  void set_token_lifetime(std::int64_t seconds);

  std::optional<std::string> user_of_refresh_token(const UserCredentials& credentials) const;
  std::optional<std::string> principal_of_subject_token(std::string_view subject_token) const;
  // RS256 over `signed_part` with any key of `email` (the one named `key_id` if that is not empty).
  bool verify(const std::string& email, const std::string& key_id, std::string_view signed_part,
              std::string_view signature) const;

 private:
  struct PublicKey {
    std::string id;
    Key key;
  };
  struct Entry {
    Rights rights;
    std::vector<PublicKey> keys;
  };

  mutable std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, Token, std::less<>> tokens_;
  std::map<std::string, std::pair<std::string, UserCredentials>, std::less<>> users_;  // by refresh token
  std::map<std::string, std::string, std::less<>> subjects_;
  std::string attached_;
  std::int64_t token_lifetime_s_ = 3600;
};

std::optional<std::string> base64url_decode(std::string_view text);

}  // namespace sidepool::emulator
