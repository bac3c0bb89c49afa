// shim.h — OpenSSL 3 for Swift: its headers, and functions for the macros that Swift cannot import.
#ifndef SWARM_OPENSSL_SHIM_H
#define SWARM_OPENSSL_SHIM_H

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#endif
