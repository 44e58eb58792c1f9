/* The clients: open streams, check that every event came once, in order and alone, and measure. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES 8192

struct stream {
    struct peer peer;
    int64_t asked;
    int started, answered, seen, done, filled;
    char buffer[BUFFER_BYTES]; /* what came and is no whole event yet */
};

static struct stream *streams;
static int count, opened, finished, repeated;
static int64_t began, window_from, window_to;
static uint32_t *latencies, *first_bytes; /* microseconds / 10 */
static size_t latency_count, latency_room, first_byte_count;
static long coalesced, disordered, broken;
static enum { RAMP, WINDOW, OVER } stage;

static int tokens(void) {
    if (!options.streams) return 2;
    return options.rate * (options.ramp_seconds + options.window_seconds + 2.0);
}

static void ask(struct stream *stream) {
    char body[512], out[1024];
    int size = snprintf(body, sizeof body,
        "{\"model\":\"m\",\"stream\":true,\"max_tokens\":%d,\"messages\":[{\"role\":\"user\",\"content\":"
        "\"How many positive integers below one thousand are divisible by neither seven nor eleven?\"}]}",
        tokens());
    size = snprintf(out, sizeof out,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Authorization: Bearer sk-benchmark-0123456789\r\nContent-Length: %d\r\n\r\n%s", size, body);
    stream->seen = stream->answered = stream->done = stream->filled = 0;
    stream->asked = now_nanoseconds();
    if (send(stream->peer.fd, out, size, MSG_NOSIGNAL) != size) die("cannot ask");
}

static void open_stream(struct stream *stream) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options.target_port)};
    int yes = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    stream->peer = (struct peer){.kind = CLIENT, .fd = socket(AF_INET, SOCK_STREAM, 0)};
    setsockopt(stream->peer.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(stream->peer.fd, (struct sockaddr *)&address, sizeof address)) die("cannot connect");
    watch(&stream->peer, EPOLLIN);
    stream->started = 1;
    ask(stream);
}

void clients_start(int64_t now) {
    count = options.streams ? options.streams : 1;
    opened = finished = repeated = 0;
    latency_count = first_byte_count = 0;
    coalesced = disordered = broken = 0;
    stage = RAMP;
    streams = calloc(count, sizeof *streams);
    latency_room = 1 << 20;
    latencies = malloc(latency_room * sizeof *latencies);
    first_bytes = malloc((count + options.repeat) * sizeof *first_bytes);
    began = now;
    window_from = now + options.ramp_seconds * 1e9;
    window_to = window_from + options.window_seconds * 1e9;
}

int64_t clients_tick(int64_t now) {
    /* Half of the ramp to open them, the rest to settle. */
    int64_t gap = options.ramp_seconds * 0.5e9 / count;
    while (opened < count && began + opened * gap <= now) open_stream(&streams[opened++]);
    if (stage == RAMP && options.streams && now >= window_from) {
        stage = WINDOW;
        printf("window\n");
        fflush(stdout);
    }
    if (stage == WINDOW && now >= window_to) {
        stage = OVER;
        printf("over\n");
        fflush(stdout);
    }
    if (opened < count) return began + opened * gap;
    return stage == RAMP ? window_from : stage == WINDOW ? window_to : INT64_MAX;
}

static void keep(int64_t nanoseconds) {
    if (latency_count == latency_room)
        latencies = realloc(latencies, (latency_room *= 2) * sizeof *latencies);
    latencies[latency_count++] = nanoseconds / 100;
}

static void end(struct stream *stream) {
    if (stream->seen != tokens()) disordered++;
    stream->done = 1;
    if (options.streams) finished++;
}

/* One request after the other: when the last chunk of the body has come, too. */
static void next_request(struct stream *stream) {
    if (!memmem(stream->buffer, stream->filled, "0\r\n\r\n", 5)) return;
    if (++repeated < options.repeat) ask(stream);
    else finished++;
}

/* Looks at one event; returns whether it carried a stamp. */
static int take(struct stream *stream, char *event, int length, int64_t now) {
    char *stamp = memchr(event, STAMP_MARK, length);
    if (!stamp || event + length - stamp < STAMP_LENGTH) {
        if (memmem(event, length, "data: [DONE]", 12)) end(stream);
        return 0;
    }
    int64_t wrote = strtoll(stamp + 1, NULL, 16);
    int number = strtol(stamp + 18, NULL, 16);
    if (number != stream->seen) disordered++;
    stream->seen = number + 1;
    if (stage == WINDOW) keep(now - wrote);
    return 1;
}

void clients_read(struct peer *peer) {
    struct stream *stream = (struct stream *)peer;
    ssize_t got = recv(peer->fd, stream->buffer + stream->filled, BUFFER_BYTES - stream->filled,
                       MSG_DONTWAIT);
    int64_t now = now_nanoseconds();
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN) return;
        if (!stream->done) broken++, finished++, stream->done = 1;
        close(peer->fd);
        peer->fd = -1;
        return;
    }
    if (!stream->answered) {
        stream->answered = 1;
        first_bytes[first_byte_count++] = (now - stream->asked) / 100;
        if (!memmem(stream->buffer, got, " 200 ", 5)) broken++;
    }
    stream->filled += got;
    char *from = stream->buffer, *until = stream->buffer + stream->filled, *mark;
    int stamped = 0;
    while ((mark = memmem(from, until - from, "\n\n", 2)) != NULL) {
        char *event = from;
        from = mark + 2;
        stamped += take(stream, event, mark - event, now);
    }
    if (stamped > 1 && stage == WINDOW) coalesced += stamped - 1;
    stream->filled = until - from;
    memmove(stream->buffer, from, stream->filled);
    if (stream->filled == BUFFER_BYTES) die("an event without an end");
    if (stream->done && !options.streams) next_request(stream);
}

int clients_done(void) {
    return finished == count || stage == OVER;
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile(uint32_t *values, size_t number, double share) {
    return number ? values[(size_t)((number - 1) * share)] / 10.0 : 0.0;
}

void clients_report(void) {
    qsort(latencies, latency_count, sizeof *latencies, ascending);
    qsort(first_bytes, first_byte_count, sizeof *first_bytes, ascending);
    printf("{\"events\":%zu,\"p50_microseconds\":%.1f,\"p99_microseconds\":%.1f,"
           "\"p999_microseconds\":%.1f,\"max_microseconds\":%.1f,\"first_byte_p50_microseconds\":%.1f,"
           "\"first_byte_p99_microseconds\":%.1f,\"answered\":%zu,\"coalesced\":%ld,"
           "\"disordered\":%ld,\"broken\":%ld}\n",
           latency_count, quantile(latencies, latency_count, 0.5),
           quantile(latencies, latency_count, 0.99), quantile(latencies, latency_count, 0.999),
           quantile(latencies, latency_count, 1.0), quantile(first_bytes, first_byte_count, 0.5),
           quantile(first_bytes, first_byte_count, 0.99), first_byte_count, coalesced, disordered,
           broken);
    fflush(stdout);
    for (int i = 0; i < opened; i++)
        if (streams[i].peer.fd >= 0) close(streams[i].peer.fd);
    free(streams);
    free(latencies);
    free(first_bytes);
}
