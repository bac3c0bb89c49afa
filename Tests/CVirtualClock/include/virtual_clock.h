// virtual_clock.h — gives OpenSSL's DTLS timer a simulated clock in tests.
//
// libssl asks gettimeofday(2) for the time. A test program that links this target defines that function itself, and the
// dynamic linker binds libssl's call to it. Each thread has its own clock, because tests run in parallel; a thread that
// set none gets the real time. What is not thread-switched is a synchronous test function: set, run and clear within one.
#ifndef VIRTUAL_CLOCK_H
#define VIRTUAL_CLOCK_H

#include <stdint.h>

// From now on gettimeofday returns this moment on the calling thread, in nanoseconds since 1970.
void virtual_clock_set(int64_t nanoseconds);

// The calling thread goes back to the real clock.
void virtual_clock_clear(void);

// What gettimeofday has been asked on this thread while a simulated clock was set: proof that libssl reads this clock.
uint64_t virtual_clock_reads(void);

#endif
