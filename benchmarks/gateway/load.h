/* What the parts of the load generator share: a clock, connections in one epoll set, and the
 * stamp that every event carries in its text: ~TTTTTTTTTTTTTTTT.SSSSSS, the instant in nanoseconds
 * at which the engine wrote it and its number in the stream, in hexadecimal. */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

#define STAMP_MARK '~'
#define STAMP_LENGTH 24

enum kind { COMMANDS, LISTENER, ENGINE, CLIENT };

/* The first member of whatever an epoll event points to. */
struct peer {
    enum kind kind;
    int fd;
};

/* One measurement. */
struct options {
    int target_port;    /* what is measured: a proxy before the engine, or the engine itself */
    int streams;        /* at once; 0: one after the other, `repeat` times on one connection */
    int repeat;
    double rate;        /* tokens a second of each stream */
    double ramp_seconds;
    double window_seconds;
};

extern struct options options;

int64_t now_nanoseconds(void);
void watch(struct peer *peer, uint32_t events);
void die(const char *what);

/* engine.c */
void engine_listen(int port);
void engine_accept(int listener);
void engine_read(struct peer *peer);
int64_t engine_emit(int64_t now); /* sends what is due; when the next event is */

/* clients.c */
void clients_start(int64_t now);
int64_t clients_tick(int64_t now); /* opens and measures; when to be called again */
void clients_read(struct peer *peer);
int clients_done(void);
void clients_report(void); /* and closes what is open */

#endif
