// cloudsql/client_key.h -- the process's RSA key: made once, used for every instance, never rotated, never
// stored.
#pragma once
#include <string>

#include "src/tls/openssl_ptr.h"

namespace sidepool::cloudsql {

// RSA-2048; takes tens of milliseconds on two threads: never on a worker. Null if OpenSSL fails. The primes
// are Nettle's: a first row waits for this key, and OpenSSL 3.0 takes 4.5 times as long for one.
tls::KeyPtr make_client_key();

// The form the API is known to accept: SubjectPublicKeyInfo under the label of PKCS#1 ("RSA PUBLIC KEY"),
// which is not what PEM_write_bio_PUBKEY writes.
std::string public_key_pem(EVP_PKEY* key);

}  // namespace sidepool::cloudsql
