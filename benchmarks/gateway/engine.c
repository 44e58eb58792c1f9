/* The emitting engine: answers like vLLM, every event in a write of its own, at a steady pace.
 *
 * It generates nothing, so it costs next to nothing; the events have the fields, the token ids and
 * the length of vLLM's. Four fifths of a stream are thinking. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_BYTES 65536

struct connection {
    struct peer peer;
    struct connection *next_due; /* a queue in the order of `due`: all have one interval */
    int64_t due;
    int sent, tokens, with_ids, streaming;
    size_t filled;
    char *request; /* REQUEST_BYTES while one is read */
};

static struct connection *first_due, *last_due;

void engine_listen(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    static struct peer listener = {.kind = LISTENER};
    int yes = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener.fd, (struct sockaddr *)&address, sizeof address) || listen(listener.fd, 4096))
        die("cannot listen");
    watch(&listener, EPOLLIN);
}

void engine_accept(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        connection->peer = (struct peer){.kind = ENGINE, .fd = fd};
        watch(&connection->peer, EPOLLIN);
    }
}

static void unschedule(struct connection *gone) {
    struct connection **link = &first_due, *before = NULL;
    while (*link && *link != gone) {
        before = *link;
        link = &before->next_due;
    }
    if (!*link) return;
    *link = gone->next_due;
    if (last_due == gone) last_due = before;
}

static void drop(struct connection *connection) {
    if (connection->streaming) unschedule(connection);
    close(connection->peer.fd);
    free(connection->request);
    free(connection);
}

static void schedule(struct connection *connection, int64_t due) {
    struct connection **link = &first_due;
    connection->due = due;
    if (last_due && last_due->due <= due) link = &last_due->next_due;
    else while (*link && (*link)->due <= due) link = &(*link)->next_due;
    connection->next_due = *link;
    *link = connection;
    if (!connection->next_due) last_due = connection;
}

static int put(struct connection *connection, const char *data, size_t length) {
    return send(connection->peer.fd, data, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static int put_event(struct connection *connection, const char *json, const char *tail) {
    char out[1024];
    int length = strlen(json) + strlen("data: \n\n");
    int size = snprintf(out, sizeof out, "%x\r\ndata: %s\n\n\r\n%s", length, json, tail);
    return put(connection, out, size);
}

static void answer_json(struct connection *connection, const char *body) {
    char out[512];
    int size = snprintf(out, sizeof out,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(body), body);
    put(connection, out, size);
}

static void begin(struct connection *connection, const char *body) {
    static unsigned seed = 1;
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    const char *tokens = strstr(body, "\"max_tokens\":");
    int64_t interval = 1e9 / options.rate;
    connection->tokens = tokens ? atoi(tokens + strlen("\"max_tokens\":")) : 16;
    connection->with_ids = strstr(body, "\"return_token_ids\":true") != NULL;
    connection->sent = 0;
    connection->streaming = 1;
    put(connection, head, sizeof head - 1);
    put_event(connection,
        connection->with_ids
        ? "{\"id\":\"chatcmpl-b0f3\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,"
          "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
          "\"logprobs\":null,\"finish_reason\":null}],\"prompt_token_ids\":[5,6,7,8,1]}"
        : "{\"id\":\"chatcmpl-b0f3\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,"
          "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
          "\"logprobs\":null,\"finish_reason\":null}]}", "");
    schedule(connection, now_nanoseconds() + (int64_t)(interval * (rand_r(&seed) / (double)RAND_MAX)));
}

static const char *tokens_of(const char *body) {
    if (strstr(body, "\\n</think>")) return "{\"tokens\":[3,2,4],\"max_model_len\":131072}";
    if (strstr(body, "</think>")) return "{\"tokens\":[2],\"max_model_len\":131072}";
    if (strstr(body, "<think>")) return "{\"tokens\":[1],\"max_model_len\":131072}";
    return "{\"tokens\":[9,10],\"max_model_len\":131072}";
}

static void serve(struct connection *connection, const char *body) {
    if (strstr(connection->request, "/tokenize ")) answer_json(connection, tokens_of(body));
    else if (strstr(connection->request, "/v1/models "))
        answer_json(connection, "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\"}]}");
    else if (strstr(connection->request, "/chat/completions ")) begin(connection, body);
    else answer_json(connection, "{}");
}

void engine_read(struct peer *peer) {
    struct connection *connection = (struct connection *)peer;
    if (!connection->request) connection->request = malloc(REQUEST_BYTES);
    ssize_t got = recv(peer->fd, connection->request + connection->filled,
                       REQUEST_BYTES - 1 - connection->filled, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) drop(connection);
        return;
    }
    connection->filled += got;
    connection->request[connection->filled] = 0;
    char *body = strstr(connection->request, "\r\n\r\n");
    if (!body) return;
    char *length = strcasestr(connection->request, "content-length:");
    size_t needed = length && length < body ? strtoul(length + strlen("content-length:"), NULL, 10) : 0;
    body += 4;
    if (connection->filled < (size_t)(body - connection->request) + needed) return;
    serve(connection, body);
    connection->filled = 0;
    free(connection->request);
    connection->request = NULL;
}

static int emit_one(struct connection *connection) {
    static const char *const finish[] = {"null", "\"stop\""};
    char json[640], ids[32] = "";
    int number = connection->sent++, last = connection->sent == connection->tokens;
    int thinking = number < connection->tokens * 4 / 5;
    if (connection->with_ids)
        snprintf(ids, sizeof ids, ",\"token_ids\":[%d]",
                 thinking || number > connection->tokens * 4 / 5 ? 1000 + number % 9000 : 2);
    snprintf(json, sizeof json,
        "{\"id\":\"chatcmpl-b0f3\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,"
        "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"%s\":\"%c%016llx.%06x\"},"
        "\"logprobs\":null,\"finish_reason\":%s%s}]}", thinking ? "reasoning" : "content",
        STAMP_MARK, (unsigned long long)now_nanoseconds(), number, finish[last], ids);
    if (!put_event(connection, json, "")) return 0;
    if (!last) return 1;
    snprintf(json, sizeof json,
        "{\"id\":\"chatcmpl-b0f3\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,"
        "\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"total_tokens\":%d,"
        "\"completion_tokens\":%d}}", connection->tokens + 5, connection->tokens);
    connection->streaming = 0;
    return put_event(connection, json, "") && put_event(connection, "[DONE]", "0\r\n\r\n");
}

int64_t engine_emit(int64_t now) {
    int64_t interval = 1e9 / options.rate;
    while (first_due && first_due->due <= now) {
        struct connection *connection = first_due;
        unschedule(connection);
        if (!emit_one(connection)) { /* its reader is gone, or takes nothing any more */
            connection->streaming = 0;
            shutdown(connection->peer.fd, SHUT_RDWR);
        } else if (connection->streaming) schedule(connection, connection->due + interval);
    }
    return first_due ? first_due->due : INT64_MAX;
}
