// TLS contexts for listeners and for plain PostgreSQL servers.
#include <gtest/gtest.h>

#include "src/tls/context.h"
#include "tests/unit/cloudsql/pki.h"

namespace sidepool::tls {
namespace {

using test::Identity;
using test::make_identity;
using test::pem;

class Contexts : public testing::Test {
 protected:
  Contexts()
      : root_(make_identity({.cn = "root", .ca = true})),
        server_(make_identity({.cn = "ignored", .sans = {"db.example.com"}}, &root_)),
        client_(make_identity({.cn = "alice"}, &root_)),
        stranger_(make_identity({.cn = "stranger", .ca = true})),
        ca_file_(dir_.file("ca.pem", pem(root_.cert.get()))),
        other_ca_file_(dir_.file("other.pem", pem(stranger_.cert.get()))),
        cert_file_(dir_.file("server.pem", pem(server_.cert.get()))),
        key_file_(dir_.file("server.key", pem(server_.key.get()))),
        client_file_(dir_.file("client.pem", pem(client_.cert.get()) + pem(client_.key.get()))) {}

  ListenerTls listener() const { return {.cert_file = cert_file_, .key_file = key_file_}; }

  // Whether a handshake with this context succeeds; `host` empty: no name is set.
  static bool connects(const UpstreamTls& options, const ListenerTls& server, std::string_view host) {
    const auto client_ctx = upstream_context(options);
    const auto server_ctx = listener_context(server);
    EXPECT_TRUE(client_ctx) << client_ctx.error().what;
    EXPECT_TRUE(server_ctx) << server_ctx.error().what;
    test::Handshake h{client_ctx->get(), server_ctx->get()};
    if (!host.empty()) {
      EXPECT_TRUE(set_peer_name(h.client, host));
    }
    h.run();
    return h.ok();
  }

  test::TempDir dir_;
  const Identity root_, server_, client_, stranger_;
  const std::string ca_file_, other_ca_file_, cert_file_, key_file_, client_file_;
};

TEST_F(Contexts, UpstreamModes) {
  const UpstreamTls require{.check = PeerCheck::None};
  const UpstreamTls chain{.check = PeerCheck::Chain, .ca_file = ca_file_};
  const UpstreamTls wrong_chain{.check = PeerCheck::Chain, .ca_file = other_ca_file_};
  const UpstreamTls full{.check = PeerCheck::ChainAndHost, .ca_file = ca_file_};
  const UpstreamTls wrong_full{.check = PeerCheck::ChainAndHost, .ca_file = other_ca_file_};
  EXPECT_TRUE(connects(require, listener(), ""));
  EXPECT_TRUE(connects(chain, listener(), ""));
  EXPECT_FALSE(connects(wrong_chain, listener(), ""));
  EXPECT_TRUE(connects(full, listener(), "db.example.com"));
  EXPECT_TRUE(connects(full, listener(), "DB.example.com."));
  EXPECT_FALSE(connects(full, listener(), "other.example.com"));
  EXPECT_FALSE(connects(full, listener(), "ignored"));
  EXPECT_FALSE(connects(full, listener(), "10.0.0.5"));
  EXPECT_FALSE(connects(wrong_full, listener(), "db.example.com"));
}

TEST_F(Contexts, AHostCheckWithoutAHostFails) {
  EXPECT_FALSE(connects({.check = PeerCheck::ChainAndHost, .ca_file = ca_file_}, listener(), ""));
}

TEST_F(Contexts, AnIpAddressIsCheckedButNotSentAsSni) {
  const auto ctx = upstream_context({.check = PeerCheck::ChainAndHost, .ca_file = ca_file_});
  const auto server_ctx = listener_context(listener());
  test::Handshake by_ip{ctx->get(), server_ctx->get()};
  ASSERT_TRUE(set_peer_name(by_ip.client, "10.0.0.5"));
  EXPECT_EQ(SSL_get_servername(by_ip.client, TLSEXT_NAMETYPE_host_name), nullptr);
  test::Handshake by_name{ctx->get(), server_ctx->get()};
  ASSERT_TRUE(set_peer_name(by_name.client, "db.example.com."));
  EXPECT_STREQ(SSL_get_servername(by_name.client, TLSEXT_NAMETYPE_host_name), "db.example.com");
  EXPECT_FALSE(set_peer_name(by_name.client, ""));
  EXPECT_EQ(sni_name("::1"), "");
  EXPECT_EQ(sni_name("127.0.0.1"), "");
  EXPECT_EQ(sni_name("abc.sql.goog."), "abc.sql.goog");
}

TEST_F(Contexts, ClientCertificates) {
  ListenerTls required = listener();
  required.client_cert = ClientCert::Required;
  required.ca_file = ca_file_;
  ListenerTls optional = required;
  optional.client_cert = ClientCert::Optional;
  const UpstreamTls anonymous{.check = PeerCheck::None};
  const UpstreamTls alice{.check = PeerCheck::None, .cert_file = client_file_};
  const std::string mallory_file =
      dir_.file("mallory.pem", pem(stranger_.cert.get()) + pem(stranger_.key.get()));
  const UpstreamTls mallory{.check = PeerCheck::None, .cert_file = mallory_file};
  EXPECT_TRUE(connects(alice, required, ""));
  EXPECT_FALSE(connects(anonymous, required, ""));
  EXPECT_FALSE(connects(mallory, required, ""));
  EXPECT_TRUE(connects(anonymous, optional, ""));
  EXPECT_TRUE(connects(alice, optional, ""));
  EXPECT_FALSE(connects(mallory, optional, ""));
}

TEST_F(Contexts, ClientCertificatesNeedACaOfTheirOwn) {
  ListenerTls options = listener();
  options.client_cert = ClientCert::Required;
  EXPECT_FALSE(listener_context(options));
}

TEST_F(Contexts, AlpnIsPostgresqlOrTheHandshakeFails) {
  const auto client_ctx = upstream_context({.check = PeerCheck::None});
  const auto server_ctx = listener_context(listener());
  test::Handshake with{client_ctx->get(), server_ctx->get()};
  ASSERT_TRUE(offer_postgresql_alpn(with.client));
  with.run();
  EXPECT_TRUE(with.ok());
  EXPECT_TRUE(alpn_is_postgresql(with.server));
  EXPECT_TRUE(alpn_is_postgresql(with.client));

  test::Handshake without{client_ctx->get(), server_ctx->get()};
  without.run();
  EXPECT_TRUE(without.ok());
  EXPECT_FALSE(alpn_is_postgresql(without.server));

  test::Handshake other{client_ctx->get(), server_ctx->get()};
  const unsigned char http[] = {2, 'h', '2'};
  SSL_set_alpn_protos(other.client, http, sizeof http);
  other.run();
  EXPECT_FALSE(other.ok());
}

TEST_F(Contexts, Versions) {
  ListenerTls modern = listener();
  modern.min_version = MinVersion::Tls13;
  const auto strict = listener_context(modern);
  const auto usual = listener_context(listener());
  const auto old_client = upstream_context({.check = PeerCheck::None});
  SSL_CTX_set_max_proto_version(old_client->get(), TLS1_2_VERSION);
  test::Handshake refused{old_client->get(), strict->get()};
  refused.run();
  EXPECT_FALSE(refused.ok());
  test::Handshake accepted{old_client->get(), usual->get()};
  accepted.run();
  EXPECT_TRUE(accepted.ok());
  EXPECT_EQ(SSL_CTX_get_min_proto_version(usual->get()), TLS1_2_VERSION);
}

TEST_F(Contexts, NothingIsResumed) {
  const auto client_ctx = upstream_context({.check = PeerCheck::None});
  const auto server_ctx = listener_context(listener());
  EXPECT_EQ(SSL_CTX_get_num_tickets(server_ctx->get()), 0U);
  test::Handshake first{client_ctx->get(), server_ctx->get()};
  first.run();
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(SSL_SESSION_is_resumable(SSL_get0_session(first.client)), 0);
}

TEST_F(Contexts, BadFilesAreNamed) {
  ListenerTls missing = listener();
  missing.cert_file = dir_.path() + "/nowhere.pem";
  const auto a = listener_context(missing);
  ASSERT_FALSE(a);
  EXPECT_NE(a.error().what.find("nowhere.pem"), std::string::npos);
  ListenerTls mixed = listener();
  mixed.key_file = dir_.file("other.key", pem(client_.key.get()));
  EXPECT_FALSE(listener_context(mixed));
  EXPECT_FALSE(upstream_context({.check = PeerCheck::Chain, .ca_file = key_file_}));
  EXPECT_FALSE(upstream_context({.check = PeerCheck::None, .ciphers = "NO-SUCH-CIPHER"}));
}

TEST_F(Contexts, AnEncryptedKeyIsRefusedWithoutAsking) {
  const BioPtr bio{BIO_new(BIO_s_mem())};
  PEM_write_bio_PKCS8PrivateKey(bio.get(), server_.key.get(), EVP_aes_256_cbc(), "secret", 6, nullptr,
                                nullptr);
  ListenerTls options = listener();
  options.key_file = dir_.file("encrypted.key", test::drain(bio.get()));
  EXPECT_FALSE(listener_context(options));
  EXPECT_EQ(read_private_key(test::drain(bio.get())), nullptr);
}

}  // namespace
}  // namespace sidepool::tls
