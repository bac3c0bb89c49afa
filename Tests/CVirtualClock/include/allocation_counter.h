// allocation_counter.h — how often the calling thread has asked for heap memory.
//
// A test program that links this target defines malloc and its kin itself, in front of glibc's, and counts. Swift's and
// OpenSSL's allocations both come here. Under a sanitizer, which has the same idea, nothing is counted.
#ifndef ALLOCATION_COUNTER_H
#define ALLOCATION_COUNTER_H

#include <stdbool.h>
#include <stdint.h>

// Calls of malloc, calloc, realloc, aligned_alloc and posix_memalign on this thread so far.
uint64_t thread_allocations(void);

// Bytes that this thread has allocated less those that it has freed. Memory that moves between threads blurs it.
int64_t thread_live_bytes(void);

// Whether this program counts.
bool allocations_are_counted(void);

#endif
