/* The load generator: an engine that emits and clients that measure, in one thread and on one
 * clock, so that it costs little and disturbs nobody. The engine is always there; each line of the
 * standard input is one measurement, which prints "window" and "over" around the measured time, and
 * then a line of JSON:
 *
 *     TARGET_PORT STREAMS REPEAT RATE RAMP_SECONDS WINDOW_SECONDS
 */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#define BATCH 64

struct options options;
static int epoll;

int64_t now_nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

void die(const char *what) {
    perror(what);
    exit(1);
}

void watch(struct peer *peer, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, peer->fd, &event)) die("cannot watch");
}

static void read_command(void) {
    char line[256];
    if (!fgets(line, sizeof line, stdin)) exit(0);
    struct options asked = {0};
    if (sscanf(line, "%d %d %d %lf %lf %lf", &asked.target_port, &asked.streams, &asked.repeat,
               &asked.rate, &asked.ramp_seconds, &asked.window_seconds) != 6)
        die("cannot understand the command");
    options = asked;
    clients_start(now_nanoseconds());
}

static void wait_until(int64_t due) {
    struct epoll_event events[BATCH];
    int64_t left = due - now_nanoseconds();
    if (left > 1000000000) left = 1000000000;
    if (left < 0) left = 0;
    struct timespec timeout = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
    int number = epoll_pwait2(epoll, events, BATCH, &timeout, NULL);
    for (int i = 0; i < number; i++) {
        struct peer *peer = events[i].data.ptr;
        if (peer->kind == COMMANDS) read_command();
        else if (peer->kind == LISTENER) engine_accept(peer->fd);
        else if (peer->kind == ENGINE) engine_read(peer);
        else clients_read(peer);
    }
}

int main(int argc, char **argv) {
    static struct peer commands = {.kind = COMMANDS, .fd = 0};
    if (argc != 2) {
        fprintf(stderr, "usage: load ENGINE_PORT\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll = epoll_create1(0);
    setvbuf(stdin, NULL, _IONBF, 0); /* epoll must see what is not read yet */
    watch(&commands, EPOLLIN);
    engine_listen(atoi(argv[1]));
    for (;;) {
        int64_t due = engine_emit(now_nanoseconds());
        if (options.target_port) {
            int64_t tick = clients_tick(now_nanoseconds());
            if (tick < due) due = tick;
            if (clients_done()) {
                clients_report();
                options.target_port = 0;
            }
        }
        wait_until(due);
    }
}
