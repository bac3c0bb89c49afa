// virtual_clock.c — gettimeofday, served from a simulated clock where the calling thread has one.

#include "virtual_clock.h"

#include <stdbool.h>
#include <sys/time.h>
#include <time.h>

static _Thread_local bool is_set;
static _Thread_local int64_t simulated_nanoseconds;
static _Thread_local uint64_t reads;

void virtual_clock_set(int64_t nanoseconds) {
  is_set = true;
  simulated_nanoseconds = nanoseconds;
}

void virtual_clock_clear(void) { is_set = false; }

uint64_t virtual_clock_reads(void) { return reads; }

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  int64_t nanoseconds = simulated_nanoseconds;
  if (is_set) {
    reads += 1;
  } else {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    nanoseconds = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
  }
  time->tv_sec = nanoseconds / 1000000000;
  time->tv_usec = nanoseconds % 1000000000 / 1000;
  return 0;
}
