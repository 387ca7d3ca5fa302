// Which server certificates are accepted as a Cloud SQL instance.
#include <gtest/gtest.h>

#include "src/cloudsql/client_key.h"
#include "src/tls/verify.h"
#include "tests/unit/cloudsql/pki.h"

namespace sidepool::tls {
namespace {

using test::Identity;
using test::make_identity;
using test::pem;

TEST(HostMatches, Table) {
  struct Case {
    std::string_view pattern, host;
    bool match;
  };
  const Case cases[] = {
      {"db.example.com", "db.example.com", true},
      {"DB.Example.com", "db.eXample.COM", true},
      {"db.example.com.", "db.example.com", true},
      {"db.example.com", "db.example.com.", true},
      {"db.example.com.", "db.example.com.", true},
      {"db.example.com..", "db.example.com", false},
      {"*.example.com", "db.example.com", true},
      {"*.example.com.", "db.example.com", true},
      {"*.example.com", "a.db.example.com", false},
      {"*.example.com", "example.com", false},
      {"*.example.com", ".example.com", false},
      {"*.com", "example.com", false},
      {"*", "localhost", false},
      {"*.", "localhost", false},
      {"d*.example.com", "db.example.com", false},
      {"*.*.com", "db.example.com", false},
      {"db.*.com", "db.example.com", false},
      {"*.example.com", "*.example.com", false},
      {"", "", false},
      {".", ".", false},
      {"localhost", "localhost", true},
      {std::string_view{"db.example.com\0.evil.com", 24}, "db.example.com", false},
      {"db.example.com", std::string_view{"db.example.com\0", 15}, false},
  };
  for (const Case& c : cases)
    EXPECT_EQ(host_matches(c.pattern, c.host), c.match) << c.pattern << " / " << c.host;
}

// Root, intermediate and leaf as Cloud SQL has them; the server's chain without its leaf is the bundle.
class Verification : public testing::Test {
 protected:
  static Status verify(const Identity& leaf, const std::string& bundle, const InstanceIdentity& who) {
    const auto anchors = read_anchors(bundle);
    if (!anchors) return tl::unexpected(anchors.error());
    return verify_instance_certificate(leaf.cert.get(), *anchors, who);
  }

  const Identity root_ = make_identity({.cn = "Google Cloud SQL Root CA", .ca = true});
  const Identity middle_ = make_identity({.cn = "Google Cloud SQL Intermediate CA", .ca = true}, &root_);
  const InstanceIdentity plain_{"", "myProject:myInstance"};
};

// The ten cases of the original, each with the per-instance CA and with the CA hierarchy of CAS.
TEST_F(Verification, IdentityMatrix) {
  struct Case {
    const char* name;
    std::string server_name, instance, cn, san;
    bool valid;
  };
  const std::string db = "db.example.com";
  const std::string other = "other.example.com";
  const Case cases[] = {
      {"cn match", "", "myInstance", "myProject:myInstance", "", true},
      {"cn no match", "", "badInstance", "myProject:myInstance", "", false},
      {"cn empty", "", "myInstance", "", db, false},
      {"san match", db, "myInstance", "", db, true},
      {"san no match", "bad.example.com", "myInstance", "", db, false},
      {"san empty", "empty.example.com", "myInstance", "", "", false},
      {"san match with cn", db, "myInstance", "myProject:myInstance", db, true},
      {"san no match, cn does", db, "myInstance", "myProject:myInstance", other, true},
      {"san empty, cn matches", db, "myInstance", "myProject:myInstance", "", true},
      {"san no match, cn neither", db, "badInstance", "myProject:myInstance", other, false},
  };
  for (const Case& c : cases) {
    const test::Wanted wanted{.cn = c.cn,
                              .sans = c.san.empty() ? std::vector<std::string>{} : std::vector{c.san}};
    const InstanceIdentity who{c.server_name, "myProject:" + c.instance};
    EXPECT_EQ(verify(make_identity(wanted, &root_), pem(root_.cert.get()), who).has_value(), c.valid)
        << c.name;
    EXPECT_EQ(verify(make_identity(wanted, &middle_), pem(middle_.cert.get()) + pem(root_.cert.get()), who)
                  .has_value(),
              c.valid)
        << c.name << " (CAS)";
  }
}

TEST_F(Verification, NamesComeWithTrailingDots) {
  const auto leaf = make_identity({.sans = {"abc.us-central1.sql.goog."}}, &root_);
  EXPECT_TRUE(verify(leaf, pem(root_.cert.get()), {"abc.us-central1.sql.goog", "p:i"}));
  EXPECT_TRUE(verify(leaf, pem(root_.cert.get()), {"abc.us-central1.sql.goog.", "p:i"}));
  EXPECT_FALSE(verify(leaf, pem(root_.cert.get()), {"abd.us-central1.sql.goog", "p:i"}));
}

TEST_F(Verification, CommonNameIsComparedWhole) {
  for (const std::string& cn :
       {std::string{"myProject:myInstance\0x", 22}, std::string{"myproject:myinstance"},
        std::string{"myProject:myInstance "}, std::string{"myProject:us-central1:myInstance"}})
    EXPECT_FALSE(verify(make_identity({.cn = cn}, &root_), pem(root_.cert.get()), plain_)) << cn;
  EXPECT_TRUE(verify(make_identity({.cn = "google.com:proj:inst"}, &root_), pem(root_.cert.get()),
                     {"", "google.com:proj:inst"}));
}

TEST_F(Verification, TwoCommonNamesAreNone) {
  Identity leaf = make_identity({.cn = "myProject:myInstance"});
  X509_NAME_add_entry_by_txt(X509_get_subject_name(leaf.cert.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("evil:evil"), -1, -1, 0);
  X509_set_issuer_name(leaf.cert.get(), X509_get_subject_name(root_.cert.get()));
  X509_sign(leaf.cert.get(), root_.key.get(), EVP_sha256());
  EXPECT_FALSE(verify(leaf, pem(root_.cert.get()), plain_));
}

TEST_F(Verification, EveryCertificateOfTheBundleIsAnAnchor) {
  const auto leaf = make_identity({.cn = "myProject:myInstance"}, &middle_);
  EXPECT_TRUE(verify(leaf, pem(leaf.cert.get()), plain_)) << "the leaf itself";
  EXPECT_TRUE(verify(leaf, pem(middle_.cert.get()), plain_)) << "an intermediate";
  EXPECT_TRUE(verify(leaf, pem(leaf.cert.get()) + pem(middle_.cert.get()) + pem(root_.cert.get()), plain_));
  // Certificates that the server sends along do not fill the gap.
  EXPECT_FALSE(verify(leaf, pem(root_.cert.get()), plain_));
}

TEST_F(Verification, RotationBundleHoldsOldAndNewRoot) {
  const Identity next = make_identity({.cn = "Google Cloud SQL Root CA", .ca = true});
  const std::string both = pem(root_.cert.get()) + pem(next.cert.get());
  EXPECT_TRUE(verify(make_identity({.cn = "myProject:myInstance"}, &root_), both, plain_));
  EXPECT_TRUE(verify(make_identity({.cn = "myProject:myInstance"}, &next), both, plain_));
  EXPECT_FALSE(verify(make_identity({.cn = "myProject:myInstance"}, &next), pem(root_.cert.get()), plain_));
}

TEST_F(Verification, RefusesWhatIsNotAValidServerCertificate) {
  const std::string bundle = pem(root_.cert.get());
  const std::string cn = plain_.common_name;
  const auto expired =
      verify(make_identity({.cn = cn, .starts_in_s = -7200, .ends_in_s = -60}, &root_), bundle, plain_);
  ASSERT_FALSE(expired);
  EXPECT_EQ(expired.error().what, "failed to verify certificate: certificate has expired");
  EXPECT_EQ(expired.error().reason, "certificate_chain");
  EXPECT_FALSE(verify(make_identity({.cn = cn, .starts_in_s = 600}, &root_), bundle, plain_))
      << "not yet valid";
  EXPECT_FALSE(verify(make_identity({.cn = cn, .eku = "clientAuth"}, &root_), bundle, plain_))
      << "for clients only";
  EXPECT_TRUE(verify(make_identity({.cn = cn, .eku = ""}, &root_), bundle, plain_)) << "for everything";
  EXPECT_FALSE(verify(make_identity({.cn = cn}), bundle, plain_)) << "signed by itself";
  const auto not_ca = make_identity({.cn = "no CA"}, &root_);
  EXPECT_FALSE(verify(make_identity({.cn = cn}, &not_ca), pem(root_.cert.get()), plain_))
      << "issuer is no CA";
}

TEST_F(Verification, ABundleMustHoldReadableCertificates) {
  EXPECT_FALSE(read_anchors(""));
  EXPECT_FALSE(read_anchors("no PEM here"));
  EXPECT_FALSE(read_anchors(pem(root_.key.get())));
  EXPECT_FALSE(
      read_anchors(pem(root_.cert.get()) + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  std::string many;
  for (int i = 0; i < 65; ++i) many += pem(root_.cert.get());
  EXPECT_FALSE(read_anchors(many));
  EXPECT_TRUE(read_anchors("text before\n" + pem(root_.cert.get()) + "text behind\n"));
}

// The rule where it counts: in a handshake.
class InstanceHandshake : public Verification {
 protected:
  InstanceHandshake() : client_cert_(make_identity({.cn = "Google Cloud SQL Client"}, &root_)) {}

  Context server(const Identity& leaf) const {
    Context ctx{SSL_CTX_new(TLS_server_method()), SSL_CTX_free};
    SSL_CTX_use_certificate(ctx.get(), leaf.cert.get());
    SSL_CTX_use_PrivateKey(ctx.get(), leaf.key.get());
    SSL_CTX_add1_chain_cert(ctx.get(), middle_.cert.get());
    SSL_CTX_set1_verify_cert_store(ctx.get(), read_anchors(pem(root_.cert.get()))->front().get());
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    return ctx;
  }
  Context client(const std::string& bundle) const {
    return *instance_context({client_cert_.cert.get(), client_cert_.key.get(), bundle, plain_});
  }

  const Identity client_cert_;
};

TEST_F(InstanceHandshake, TheRightServerIsAccepted) {
  const auto client_ctx = client(pem(root_.cert.get()));
  const auto server_ctx = server(make_identity({.cn = plain_.common_name}, &root_));
  test::Handshake h{client_ctx.get(), server_ctx.get()};
  h.run();
  EXPECT_TRUE(h.ok());
  EXPECT_STREQ(SSL_get_version(h.client), "TLSv1.3");
  EXPECT_EQ(verify_failure(h.client), "");
  EXPECT_EQ(SSL_get_verify_result(h.client), X509_V_OK);
}

TEST_F(InstanceHandshake, TheContextOutlivesItsMakerInAConnection) {
  auto client_ctx = client(pem(root_.cert.get()));
  const auto server_ctx = server(make_identity({.cn = plain_.common_name}, &root_));
  test::Handshake h{client_ctx.get(), server_ctx.get()};
  client_ctx.reset();
  h.run();
  EXPECT_TRUE(h.ok());
}

TEST_F(InstanceHandshake, AnyOtherServerIsRefusedWithTheReason) {
  const auto client_ctx = client(pem(root_.cert.get()));
  struct Case {
    Identity leaf;
    const char* text;
  };
  Case cases[] = {
      {make_identity({.cn = "myProject:other"}, &root_),
       "certificate had CN \"myProject:other\", expected \"myProject:myInstance\""},
      {make_identity({}, &root_), "certificate CN was empty, expected \"myProject:myInstance\""},
      {make_identity({.cn = plain_.common_name}), "failed to verify certificate: self-signed certificate"},
      {make_identity({.cn = plain_.common_name}, &middle_),
       "failed to verify certificate: unable to get local issuer certificate"},
  };
  for (const Case& c : cases) {
    const auto server_ctx = server(c.leaf);
    test::Handshake h{client_ctx.get(), server_ctx.get()};
    h.run();
    EXPECT_FALSE(h.client_ok);
    EXPECT_EQ(verify_failure(h.client), c.text);
  }
}

TEST_F(InstanceHandshake, Tls12IsRefused) {
  const auto client_ctx = client(pem(root_.cert.get()));
  const auto server_ctx = server(make_identity({.cn = plain_.common_name}, &root_));
  SSL_CTX_set_max_proto_version(server_ctx.get(), TLS1_2_VERSION);
  test::Handshake h{client_ctx.get(), server_ctx.get()};
  h.run();
  EXPECT_FALSE(h.client_ok);
  EXPECT_FALSE(h.server_ok);
}

TEST_F(InstanceHandshake, ACertificateForAnotherKeyMakesNoContext) {
  const auto other = test::ec_key();
  const auto made = instance_context({client_cert_.cert.get(), other.get(), pem(root_.cert.get()), plain_});
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().what.find("not issued for this process's key"), std::string::npos)
      << made.error().what;
}

}  // namespace
}  // namespace sidepool::tls
