// tests/unit/conf/validate_test.cpp -- rules across keys.
#include "conf/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/conf/load.h"

namespace sidepool::conf {
namespace {

using test::load;
using testing::ElementsAre;
using testing::IsEmpty;

struct Broken {
  const char* text;
  const char* error;
};
void PrintTo(const Broken& broken, std::ostream* out) { *out << broken.text; }

class Contradiction : public testing::TestWithParam<Broken> {};

TEST_P(Contradiction, IsNamedWithItsRemedy) {
  EXPECT_THAT(load(GetParam().text).errors, ElementsAre(GetParam().error));
}

constexpr Broken kUpstreams[] = {
    {"[[upstream]]\ninstance = 'p:r:i'\nhosts = 'a'\n",
     "f:3:9: upstream \"p:r:i\": instance and hosts exclude each other: keep one of them"},
    {"[[upstream]]\nname = 'x'\n",
     "f:1:1: this [[upstream]] connects to nothing: give instance = \"PROJECT:REGION:INSTANCE\" or hosts = "
     "[\"HOST:PORT\"]"},
    {"[[upstream]]\ninstance = 'p:r'\n",
     "f:2:12: \"p:r\" is not an instance connection name: write PROJECT:REGION:INSTANCE, for example "
     "my-project:us-central1:my-postgres (gcloud sql instances describe NAME shows it as connectionName)"},
    {"[[upstream]]\nhosts = 'a'\nauto_iam_authn = true\n",
     "f:3:18: upstream \"a:5432\": auto_iam_authn is for Cloud SQL instances, not for hosts: remove it"},
    {"[[upstream]]\nhosts = 'a'\nip_type = 'private'\n",
     "f:3:11: upstream \"a:5432\": ip_type is for Cloud SQL instances, not for hosts: remove it"},
    {"[[upstream]]\ninstance = 'p:r:i'\ntls = { mode = 'require' }\n",
     "f:3:7: upstream \"p:r:i\": tls is for hosts: the TLS of a Cloud SQL instance is fixed, remove it"},
    {"[[upstream]]\nhosts = 'a'\n[[upstream]]\nhosts = 'a'\n",
     "f:3:1: two upstreams are called \"a:5432\": give one of them a name of its own"},
    {"[[upstream]]\ninstance = 'p:r:i'\nauto_iam_authn = true\nclient_auth = 'trust'\n",
     "f:4:15: upstream \"p:r:i\": client_auth = \"trust\" means nothing with auto_iam_authn, where no client "
     "is asked for a "
     "password: remove it"},
    {"[pool]\nmode = 'none'\n[[upstream]]\nhosts = 'a'\nclient_auth = 'trust'\n",
     "f:5:15: upstream \"a:5432\": client_auth = \"trust\" contradicts pool.mode = \"none\", which passes "
     "the "
     "authentication through"},
};
INSTANTIATE_TEST_SUITE_P(Upstreams, Contradiction, testing::ValuesIn(kUpstreams));

constexpr Broken kServer[] = {
    {"[server]\ndns_servers = ['10.0.0.2', 'ns.example.com']\n[[upstream]]\nhosts = 'a'\n",
     "f:2:15: dns_servers: \"ns.example.com\" is not an IP address with or without a port, such as "
     "\"10.0.0.2\" or \"[2001:db8::2]:5353\""},
};
INSTANTIATE_TEST_SUITE_P(Server, Contradiction, testing::ValuesIn(kServer));

constexpr Broken kTls[] = {
    {"[[upstream]]\nhosts = 'a'\ntls = { cert_file = '/c' }\n",
     "f:3:21: upstream \"a:5432\": tls.cert_file and tls.key_file go together: key_file is missing"},
    {"[[upstream]]\nhosts = 'a'\ntls = { mode = 'require', ca_file = '/c' }\n",
     "f:3:37: upstream \"a:5432\": tls.ca_file is used by mode = \"verify-ca\" and \"verify-full\" only: set "
     "one of them"},
    {"[[upstream]]\nhosts = 'a'\ntls = { mode = 'disable', cert_file = '/c', key_file = '/k' }\n",
     "f:3:39: upstream \"a:5432\": tls.mode = \"disable\" uses no certificate: remove it or the mode"},
    {"[[upstream]]\nhosts = 'a'\nlisten_tls = { mode = 'allow' }\n",
     "f:3:23: upstream \"a:5432\": listen_tls needs cert_file and key_file: a TLS server shows a "
     "certificate"},
    {"[[upstream]]\nhosts = 'a'\nlisten_tls = { mode = 'allow', key_file = '/k' }\n",
     "f:3:43: upstream \"a:5432\": listen_tls.cert_file and listen_tls.key_file go together: cert_file is "
     "missing"},
    {"[[upstream]]\nhosts = 'a'\nlisten_tls = { cert_file = '/c', key_file = '/k' }\n",
     "f:3:28: upstream \"a:5432\": listen_tls has a certificate but mode = \"disable\": set mode = \"allow\" "
     "or \"require\""},
    {"[[upstream]]\nhosts = 'a'\nlisten_tls = { mode = 'verify-ca', cert_file = '/c', key_file = '/k' }\n",
     "f:3:23: upstream \"a:5432\": listen_tls.mode = \"verify-...\" needs ca_file: who may sign the clients' "
     "certificates"},
    {"[[upstream]]\nhosts = 'a'\nlisten_tls = { mode = 'allow', cert_file = '/c', key_file = '/k', ca_file = "
     "'/a' }\n",
     "f:3:77: upstream \"a:5432\": listen_tls.ca_file is used by mode = \"verify-ca\" and \"verify-full\" "
     "only: set one of "
     "them"},
};
INSTANTIATE_TEST_SUITE_P(Tls, Contradiction, testing::ValuesIn(kTls));

constexpr Broken kPools[] = {
    {"[[upstream]]\nhosts = 'a'\n[upstream.pool]\nmin_size = 11\n",
     "f:4:12: upstream \"a:5432\": pool.min_size (11) is larger than pool.size (10)"},
    {"[pool]\nmin_size = 5\n[[upstream]]\nhosts = 'a'\n[upstream.pool]\nsize = 3\n",
     "f:6:8: upstream \"a:5432\": pool.min_size (5) is larger than pool.size (3)"},
    {"[pool]\nmin_size = 5\nmax_server_connections = 4\n[[upstream]]\nhosts = 'a'\n",
     "f:2:12: upstream \"a:5432\": pool.min_size (5) is larger than pool.max_server_connections (4)"},
    {"[pool]\nserver_backoff_min = '20s'\n[[upstream]]\nhosts = 'a'\n",
     "f:2:22: upstream \"a:5432\": pool.server_backoff_min (20s) is longer than pool.server_backoff_max "
     "(15s)"},
    {"[pool]\nquery_wait_timeout = '4s'\nquery_wait_notify = '5s'\n[[upstream]]\nhosts = 'a'\n",
     "f:3:21: upstream \"a:5432\": pool.query_wait_notify (5s) would come after pool.query_wait_timeout "
     "(4s): shorten it, "
     "or set 0 for no notice"},
};
INSTANTIATE_TEST_SUITE_P(Pools, Contradiction, testing::ValuesIn(kPools));

constexpr Broken kListeners[] = {
    {"[[upstream]]\nhosts = 'a'\nlisten = '127.0.0.1:1'\n[[upstream]]\nhosts = 'b'\nlisten = '0.0.0.0:1'\n",
     "f:6:10: 0.0.0.0:1 is listened on twice, by upstream \"a:5432\" and by upstream \"b:5432\": change one "
     "of them"},
    {"[[upstream]]\nhosts = 'a'\n[metrics]\nlisten = '127.0.0.1:5432'\n",
     "f:4:10: 127.0.0.1:5432 is listened on twice, by upstream \"a:5432\" and by metrics: change one of "
     "them"},
    {"[[upstream]]\nhosts = 'a'\n[health]\nlisten = '127.0.0.1:9091'\n[admin]\nquitquitquit = true\n",
     "f:6:16: 127.0.0.1:9091 is listened on twice, by health and by admin: change one of them"},
};
INSTANTIATE_TEST_SUITE_P(Listeners, Contradiction, testing::ValuesIn(kListeners));

constexpr Broken kOthers[] = {
    {"[[upstream]]\nhosts = 'a'\n[[user]]\nname = 'u'\npassword = 'p'\n",
     "f:3:1: [[user]] \"u\" is for no upstream: none has client_auth = \"trust\""},
    {"[[upstream]]\nhosts = 'a'\nclient_auth = 'trust'\n[[user]]\nname = 'u'\npassword = 'p'\nupstream = "
     "'x'\n",
     "f:7:12: [[user]] \"u\" is for no upstream: none is called \"x\" and has client_auth = \"trust\""},
    {"[[upstream]]\nhosts = 'a'\nclient_auth = 'trust'\n[[user]]\npassword = 'p'\n",
     "f:4:1: this [[user]] has no name"},
    {"[[upstream]]\nhosts = 'a'\nclient_auth = 'trust'\n[[user]]\nname = 'u'\n",
     "f:4:1: [[user]] \"u\" has no password"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\ntoken = 't'\ncredentials_file = '/f'\n",
     "f:4:9: cloudsql.token and cloudsql.credentials_file exclude each other: keep one of them"},
    {"[[upstream]]\ninstance = 'p:r:i'\nauto_iam_authn = true\n[cloudsql]\ntoken = 't'\n",
     "f:3:18: upstream \"p:r:i\": auto_iam_authn needs a token for logging in beside the one for the API: "
     "set login_token "
     "(--login-token), or use credentials_file"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\nlogin_token = 't'\n",
     "f:4:15: cloudsql.login_token is used together with cloudsql.token and auto_iam_authn only: remove it "
     "or add them"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\ncredentials_json = '{}'\ngcloud_auth = true\n",
     "f:4:20: cloudsql.credentials_json and cloudsql.gcloud_auth exclude each other: keep one of them"},
    {"[[upstream]]\ninstance = 'p:r:i'\nauto_iam_authn = true\n[cloudsql]\ngcloud_auth = true\n",
     "f:3:18: upstream \"p:r:i\": auto_iam_authn does not work with gcloud_auth: use Application Default "
     "Credentials (gcloud auth application-default login)"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\nimpersonate = 'app'\n",
     "f:4:15: \"app\" is not the e-mail address of a service account, such as "
     "app@my-project.iam.gserviceaccount.com"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\nuniverse_domain = 'x.y'\nsqladmin_api_endpoint = "
     "'http://x'\n",
     "f:4:19: cloudsql.sqladmin_api_endpoint and cloudsql.universe_domain exclude each other: keep one of "
     "them"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\nuniverse_domain = 'https://x.y'\n",
     "f:4:19: the universe domain \"https://x.y\" is not a domain such as googleapis.com"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\nuser_agent = 'caf\xc3\xa9'\n",
     "f:4:14: the user agent \"caf\xc3\xa9\" is longer than 1000 bytes or not plain ASCII"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\nquota_project = 'a b'\n",
     "f:4:17: the quota project \"a b\" is not the ID of a project"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[metrics]\nnamespace = '1x'\n",
     "f:4:13: the namespace of metrics \"1x\" must consist of letters, digits and _, and not begin with a "
     "digit"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[metrics]\nnamespace = 'a-b'\n",
     "f:4:13: the namespace of metrics \"a-b\" must consist of letters, digits and _, and not begin with a "
     "digit"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\nsqladmin_api_endpoint = 'http://[::1]:port/x'\n",
     "f:4:25: the SQL Admin API endpoint (--sqladmin-api-endpoint) \"http://[::1]:port/x/\" is not a URL "
     "such as "
     "https://sqladmin.googleapis.com/"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\nsqladmin_api_endpoint = 'ftp://me:secret@host'\n",
     "f:4:25: the SQL Admin API endpoint (--sqladmin-api-endpoint) \"ftp://***@host/\" is not a URL such as "
     "https://sqladmin.googleapis.com/"},
    {"[[upstream]]\ninstance = 'p:r:i'\n[cloudsql]\nsqladmin_api_endpoint = 'sqladmin'\n",
     "f:4:25: the SQL Admin API endpoint (--sqladmin-api-endpoint) \"sqladmin/\" is not a URL such as "
     "https://sqladmin.googleapis.com/"},
};
INSTANTIATE_TEST_SUITE_P(Others, Contradiction, testing::ValuesIn(kOthers));

TEST(Validate, NamesAUnixSocketPathThatIsTooLong) {
  const std::string directory = "/" + std::string(100, 'd');
  const auto loaded = load("[[upstream]]\nhosts = 'a'\nlisten = 'unix:" + directory + "'\n");
  ASSERT_EQ(loaded.errors.size(), 1U);
  EXPECT_EQ(loaded.errors[0],
            "f:3:10: unix socket path \"" + directory +
                "/.s.PGSQL.5432\" has 115 bytes, the system allows 107: choose a shorter directory");
}

TEST(Validate, GivesUpstreamsWithoutListenersPortsFrom5432) {
  const auto loaded = load(
      "[[upstream]]\nhosts = 'a'\n[[upstream]]\nhosts = 'b'\nlisten = '127.0.0.1:1'\n[[upstream]]\nhosts = "
      "'c'\n");
  EXPECT_THAT(loaded.errors, IsEmpty());
  EXPECT_EQ(loaded.config.upstreams[0].listeners[0].address.port, 5432);
  EXPECT_EQ(loaded.config.upstreams[1].listeners[0].address.port, 1);
  EXPECT_EQ(loaded.config.upstreams[2].listeners[0].address.port, 5433);
}

TEST(Validate, CompletingTwiceChangesNothing) {
  auto loaded = load(
      "[[upstream]]\ninstance = 'p:r:i'\nlisten = 'unix:/x'\nallow_remote = true\n[[upstream]]\nhosts = "
      "'b'\n");
  const Config once = loaded.config;
  complete(loaded.config);
  EXPECT_EQ(loaded.config, once);
}

}  // namespace
}  // namespace sidepool::conf
