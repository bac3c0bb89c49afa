// shim.h — libsrtp2 for Swift: its header, and what of libc keeps keys from lying about.
#ifndef SWARM_SRTP2_SHIM_H
#define SWARM_SRTP2_SHIM_H

#include <srtp2/srtp.h>
#include <string.h>

// Overwrites memory with zeros; a compiler must not leave it out because nobody reads them.
static inline void srtp_shim_wipe(void *memory, size_t byte_count) { explicit_bzero(memory, byte_count); }

#endif
