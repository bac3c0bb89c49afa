// shim.h — OpenSSL 3 for Swift: its headers, and functions for the macros that Swift cannot import.
#ifndef SWARM_OPENSSL_SHIM_H
#define SWARM_OPENSSL_SHIM_H

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/time.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

// To be called before anything else of OpenSSL. Without it exit() frees what threads that still run are using: a process
// that ends while a key is being made, or a datagram read, would crash. What is not freed the system takes back.
static inline int openssl_keep_until_the_end(void) { return OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL); }

// A fresh key on the curve P-256; NULL when OpenSSL cannot make one.
static inline EVP_PKEY *openssl_generate_p256(void) { return EVP_EC_gen("P-256"); }
static inline EVP_PKEY *openssl_generate_ed25519(void) { return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"); }
static inline EVP_PKEY *openssl_generate_rsa(unsigned bits) { return EVP_RSA_gen(bits); }

static inline int openssl_is_p256(const EVP_PKEY *key) {
  char name[32];
  size_t length = 0;
  if (EVP_PKEY_get_group_name(key, name, sizeof(name), &length) != 1) return 0;
  return OBJ_sn2nid(name) == NID_X9_62_prime256v1 || EC_curve_nist2nid(name) == NID_X9_62_prime256v1;
}

// Without a callback OpenSSL would ask for a password on the terminal.
static inline int openssl_no_password(char *buffer, int size, int writing, void *unused) {
  (void)buffer, (void)size, (void)writing, (void)unused;
  return -1;
}
static inline EVP_PKEY *openssl_read_private_key(BIO *text) {
  return PEM_read_bio_PrivateKey(text, NULL, openssl_no_password, NULL);
}

// What has been written to a memory BIO; it stays there.
static inline long openssl_memory_of(BIO *bio, const unsigned char **start) {
  char *bytes = NULL;
  long count = BIO_get_mem_data(bio, &bytes);
  *start = (const unsigned char *)bytes;
  return count;
}

// Whether the processor has instructions for AES and for the multiplication in GCM.
static inline int cpu_accelerates_aes_gcm(void) {
#if defined(__x86_64__) || defined(__i386__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) && (c >> 25 & 1) && (c >> 1 & 1);  // AES-NI, PCLMULQDQ
#elif defined(__aarch64__) && defined(__linux__)
  return (getauxval(AT_HWCAP) >> 3 & 3) == 3;  // HWCAP_AES, HWCAP_PMULL
#elif defined(__aarch64__)
  return 1;  // every 64-bit ARM of Apple's
#else
  return 0;
#endif
}

static inline int openssl_context_set_version(SSL_CTX *context, int version) {
  return SSL_CTX_set_min_proto_version(context, version) == 1 && SSL_CTX_set_max_proto_version(context, version) == 1;
}

static inline int openssl_context_set_groups(SSL_CTX *context, const char *names) {
  return (int)SSL_CTX_set1_groups_list(context, names);
}

static inline int openssl_context_set_signature_algorithms(SSL_CTX *context, const char *names) {
  return (int)SSL_CTX_set1_sigalgs_list(context, names);
}

// What a session signs with, and what it asks of a client.
static inline int openssl_set_signature_algorithms(SSL *ssl, const char *own, const char *client) {
  return SSL_set1_sigalgs_list(ssl, own) == 1 && SSL_set1_client_sigalgs_list(ssl, client) == 1;
}

static inline void openssl_context_disable_session_cache(SSL_CTX *context) {
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

static inline void openssl_context_set_maximum_certificates(SSL_CTX *context, long byte_count) {
  SSL_CTX_set_max_cert_list(context, byte_count);
}

// The path MTU is named by the caller; a data channel's session is neither renegotiated nor resumed. A server goes by its
// own order of suites, unless the client, whose processor may lack AES, puts ChaCha20 first.
static inline void openssl_context_set_datagram_options(SSL_CTX *context) {
  SSL_CTX_set_options(context, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                                   SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
}

// A read takes the whole datagram at once, as DTLS must.
static inline void openssl_context_set_read_ahead(SSL_CTX *context) { SSL_CTX_set_read_ahead(context, 1); }

// Which authorities vouch for servers: the system's, or those that SSL_CERT_FILE and SSL_CERT_DIR name.
static inline int openssl_context_trust_system(SSL_CTX *context) { return SSL_CTX_set_default_verify_paths(context); }

// The name that the server's certificate must have, which is sent along (SNI); an address is compared, and not sent.
static inline int openssl_expect_server(SSL *ssl, const char *name, int is_address) {
  if (is_address) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
  SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

// Empties the calling thread's queue of errors. Looking first is what makes it cheap: clearing walks all 16 places.
static inline void openssl_clear_errors(void) {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

// Whether a read may find something without another datagram.
static inline int openssl_holds_records(SSL *ssl) { return SSL_pending(ssl) > 0 || SSL_has_pending(ssl) == 1; }

// Whether the peer's keys are in use already, so that records of the next epoch are read at once instead of stored.
static inline int openssl_awaits_finished(const SSL *ssl) {
  OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);
  return state == TLS_ST_CR_CHANGE || state == TLS_ST_SR_CHANGE;
}

// What the cipher in use adds to a plaintext: a tag of 16 bytes, and with AES-GCM a nonce of 8.
static inline long openssl_protected_overhead(const SSL *ssl) {
  const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
  return cipher != NULL && SSL_CIPHER_get_cipher_nid(cipher) == NID_chacha20_poly1305 ? 16 : 24;
}

// The largest datagram of a handshake, and the longest record, for which OpenSSL makes its buffer for outgoing ones.
static inline int openssl_set_sizes(SSL *ssl, long datagram_byte_count, long record_byte_count) {
  return SSL_set_mtu(ssl, datagram_byte_count) > 0 && SSL_set_max_send_fragment(ssl, record_byte_count) == 1;
}
static inline int openssl_set_datagram_size(SSL *ssl, long byte_count) {
  return openssl_set_sizes(ssl, byte_count, byte_count);
}

// A client of TLS over a stream: the oldest version it takes, no renegotiation, and buffers only while they are in use.
static inline int openssl_context_prepare_stream_client(SSL_CTX *context) {
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1;
}

// The name of the server in the ClientHello (RFC 6066 §3).
static inline int openssl_set_server_name(SSL *ssl, const char *name) {
  return (int)SSL_set_tlsext_host_name(ssl, name);
}

// Microseconds until the retransmission timer of DTLS runs out, or -1 when it does not run.
static inline long long openssl_dtls_timeout(SSL *ssl) {
  struct timeval left = {0, 0};
  if (DTLSv1_get_timeout(ssl, &left) != 1) return -1;
  return (long long)left.tv_sec * 1000000 + left.tv_usec;
}

// 1: the flight went out again; 0: the timer has not run out; negative: failed.
static inline long openssl_dtls_handle_timeout(SSL *ssl) { return DTLSv1_handle_timeout(ssl); }

#endif
