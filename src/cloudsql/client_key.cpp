// cloudsql/client_key.cpp -- see the header.
#include "src/cloudsql/client_key.h"

#include <gmp.h>
#include <nettle/bignum.h>
#include <nettle/yarrow.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <array>
#include <future>
#include <vector>

namespace sidepool::cloudsql {
namespace {

constexpr unsigned kPrimeBits = 1024;
constexpr BN_ULONG kExponent = 65537;
constexpr int kAttempts = 8;  // one is enough but in a case of 30,000

using BnPtr = std::unique_ptr<BIGNUM, tls::OpensslFree<BN_clear_free>>;
using BnCtxPtr = std::unique_ptr<BN_CTX, tls::OpensslFree<BN_CTX_free>>;
using BuildPtr = std::unique_ptr<OSSL_PARAM_BLD, tls::OpensslFree<OSSL_PARAM_BLD_free>>;
using ParamsPtr = std::unique_ptr<OSSL_PARAM, tls::OpensslFree<OSSL_PARAM_free>>;
using PkeyCtxPtr = std::unique_ptr<EVP_PKEY_CTX, tls::OpensslFree<EVP_PKEY_CTX_free>>;

BnPtr secure_bn() { return BnPtr{BN_secure_new()}; }

// A provable prime whose two highest bits are set (Nettle manual, RSA; its search is several times as fast as
// OpenSSL 3.0's). Null if OpenSSL has no random bytes.
BnPtr random_prime() {
  std::array<std::uint8_t, YARROW256_SEED_FILE_SIZE> seed;
  if (RAND_priv_bytes(seed.data(), seed.size()) != 1) return nullptr;
  yarrow256_ctx random;
  yarrow256_init(&random, 0, nullptr);
  yarrow256_seed(&random, seed.size(), seed.data());
  OPENSSL_cleanse(seed.data(), seed.size());
  mpz_t prime;
  mpz_init2(prime, kPrimeBits);
  nettle_random_prime(
      prime, kPrimeBits, 1, &random,
      [](void* ctx, std::size_t n, std::uint8_t* to) {
        yarrow256_random(static_cast<yarrow256_ctx*>(ctx), n, to);
      },
      nullptr, nullptr);
  std::array<std::uint8_t, kPrimeBits / 8> bytes{};
  nettle_mpz_get_str_256(bytes.size(), bytes.data(), prime);
  BnPtr out{BN_bin2bn(bytes.data(), bytes.size(), BN_secure_new())};
  OPENSSL_cleanse(bytes.data(), bytes.size());
  OPENSSL_cleanse(mpz_limbs_write(prime, static_cast<mp_size_t>(mpz_size(prime))),
                  mpz_size(prime) * sizeof(mp_limb_t));
  mpz_clear(prime);
  OPENSSL_cleanse(&random, sizeof(random));
  return out;
}

// The key of two primes (RFC 8017 §3.2). Null if they do not make one.
tls::KeyPtr key_of(BnPtr p, BnPtr q) {
  if (BN_cmp(p.get(), q.get()) < 0) std::swap(p, q);
  const BnCtxPtr ctx{BN_CTX_secure_new()};
  const auto e = secure_bn(), n = secure_bn(), d = secure_bn(), p1 = secure_bn(), q1 = secure_bn(),
             phi = secure_bn(), dp = secure_bn(), dq = secure_bn(), qinv = secure_bn();
  if (!ctx || !e || !n || !d || !p1 || !q1 || !phi || !dp || !dq || !qinv) return nullptr;
  for (auto* secret : {p.get(), q.get(), p1.get(), q1.get(), phi.get(), d.get()})
    BN_set_flags(secret, BN_FLG_CONSTTIME);
  const bool computed =
      BN_set_word(e.get(), kExponent) && BN_mul(n.get(), p.get(), q.get(), ctx.get()) &&
      BN_sub(p1.get(), p.get(), BN_value_one()) && BN_sub(q1.get(), q.get(), BN_value_one()) &&
      BN_mul(phi.get(), p1.get(), q1.get(), ctx.get()) &&
      BN_mod_inverse(d.get(), e.get(), phi.get(), ctx.get()) &&
      BN_mod(dp.get(), d.get(), p1.get(), ctx.get()) && BN_mod(dq.get(), d.get(), q1.get(), ctx.get()) &&
      BN_mod_inverse(qinv.get(), q.get(), p.get(), ctx.get());
  if (!computed) return nullptr;
  const BuildPtr build{OSSL_PARAM_BLD_new()};
  const std::pair<const char*, const BIGNUM*> parts[] = {
      {OSSL_PKEY_PARAM_RSA_N, n.get()},          {OSSL_PKEY_PARAM_RSA_E, e.get()},
      {OSSL_PKEY_PARAM_RSA_D, d.get()},          {OSSL_PKEY_PARAM_RSA_FACTOR1, p.get()},
      {OSSL_PKEY_PARAM_RSA_FACTOR2, q.get()},    {OSSL_PKEY_PARAM_RSA_EXPONENT1, dp.get()},
      {OSSL_PKEY_PARAM_RSA_EXPONENT2, dq.get()}, {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, qinv.get()}};
  for (const auto& [name, value] : parts)
    if (!build || OSSL_PARAM_BLD_push_BN(build.get(), name, value) != 1) return nullptr;
  const ParamsPtr params{OSSL_PARAM_BLD_to_param(build.get())};
  const PkeyCtxPtr make{EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr)};
  EVP_PKEY* key = nullptr;
  if (!params || !make || EVP_PKEY_fromdata_init(make.get()) != 1 ||
      EVP_PKEY_fromdata(make.get(), &key, EVP_PKEY_KEYPAIR, params.get()) != 1)
    return nullptr;
  return tls::KeyPtr{key};
}

}  // namespace

tls::KeyPtr make_client_key() {
  for (int i = 0; i < kAttempts; ++i) {
    auto other = std::async(std::launch::async, random_prime);
    auto p = random_prime();
    auto q = other.get();
    if (!p || !q) return nullptr;
    if (auto key = key_of(std::move(p), std::move(q))) return key;
  }
  return nullptr;
}

std::string public_key_pem(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int n = i2d_PUBKEY(key, &der);
  const tls::BioPtr out{BIO_new(BIO_s_mem())};
  const bool written = n > 0 && out && PEM_write_bio(out.get(), "RSA PUBLIC KEY", "", der, n) > 0;
  OPENSSL_free(der);
  if (!written) return {};
  char* text = nullptr;
  const long size = BIO_get_mem_data(out.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace sidepool::cloudsql
