// usrsctp_witness.h — one SCTP socket of libusrsctp, as a machine: packets and time in, packets and messages out.
//
// The library is looked for when the first test asks, so that nothing needs it to build. It runs without threads: its
// timers move when `witness_elapse` says so. Where it reads a clock it reads gettimeofday, which the tests simulate.
#ifndef USRSCTP_WITNESS_H
#define USRSCTP_WITNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct witness witness;

// Loads the library and starts it; once for a process.
//
// Returns NULL, or why it cannot be.
const char *_Nullable witness_load(void);

// Lets its timers run. It counts in ticks of a millisecond.
void witness_elapse(uint32_t milliseconds);

// A socket that has begun to connect, from port 5000 to port 5000 over packets; or only listens. `interleaves`: it offers
// I-DATA (RFC 8260).
witness *_Nullable witness_open(uint16_t streams, bool interleaves, bool listens_only);

// Closes it at once, with an ABORT when it was up, and forgets it. Packets that this gave are lost.
void witness_free(witness *_Nonnull socket);

// A packet has come for the socket.
void witness_input(witness *_Nonnull socket, const void *_Nonnull packet, size_t count);

// The next packet to send: its length, or 0. `room` is enough for any packet: 2,048.
size_t witness_output(witness *_Nonnull socket, void *_Nonnull buffer, size_t room);

enum witness_policy { WITNESS_RELIABLE = 0, WITNESS_LIFETIME = 1, WITNESS_RETRANSMITS = 3 };

// Sends a message; 0, or the number of the error: EWOULDBLOCK when the buffer is full.
int witness_send(
    witness *_Nonnull socket, uint16_t stream, uint32_t protocol, bool is_ordered, enum witness_policy policy,
    uint32_t value, const void *_Nonnull bytes, size_t count);

enum witness_kind {
  WITNESS_NOTHING,
  WITNESS_MESSAGE,
  WITNESS_UP,
  WITNESS_RESTARTED,
  WITNESS_SHUT_DOWN,
  WITNESS_LOST,
  // The peer has reset a stream of its; ours has been reset.
  WITNESS_INCOMING_RESET,
  WITNESS_OUTGOING_RESET,
  WITNESS_RESET_REFUSED,
};

struct witness_news {
  enum witness_kind kind;
  // Of a message, or of a reset.
  uint16_t stream;
  uint32_t protocol;
  // Of a message; valid until the next call.
  const uint8_t *_Nullable bytes;
  size_t count;
};

// What has come, in order.
struct witness_news witness_poll(witness *_Nonnull socket);

// Begins to reset one of its outgoing streams; 0 or the number of the error.
int witness_reset(witness *_Nonnull socket, uint16_t stream);

// Whether all that it sent has been acknowledged or given up.
bool witness_is_drained(witness *_Nonnull socket);

// Begins to shut down in order.
void witness_shut_down(witness *_Nonnull socket);

#endif
