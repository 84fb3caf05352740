/* Receives UDP datagrams; each is an event. Obeys all rules; uses base.h of the bad plugins. Other fixtures include it. */
#include <arpa/inet.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base.h"

#ifndef LATE
#define LATE 0 /* calls of next after each that looks for a datagram, which do not look */
#endif
#ifndef STAMP
#define STAMP(bytes) /* changes what is given */
#endif

static int port, receiver = -1;

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    char text[200];
    int used = 0;
    snprintf(text, sizeof text, "%.*s", (int)settings.len, (const char *)settings.data);
    int fits = sscanf(text, "{\"port\":%d}%n", &port, &used) == 1 && used == (int)settings.len;
    if (!fits) {
        host->release(host->context);
        return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "settings: expected port and nothing else");
    }
    return base_create(host, stream, framegate_string("{}"), source, error);
}

static int32_t open_run(void *source, struct framegate_error *error) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    receiver = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(receiver, (struct sockaddr *)&address, sizeof address) != 0) {
        close(receiver);
        return framegate_failf(error, FRAMEGATE_ERROR_KIND_CONNECT, "port %d is in use", port);
    }
    return base_open(source, error);
}

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    struct pollfd waits[] = {{self->host.stop_descriptor(self->host.context), POLLIN, 0}, {receiver, POLLIN, 0}};
    static int calls;
    bool looks = ++calls % (LATE + 1) == 0;
    poll(waits, looks ? 2 : 1, (int)(left_ns / 1000000));
    uint8_t *buffer = malloc(65536);
    ssize_t got = looks ? recv(receiver, buffer, 65536, MSG_DONTWAIT) : -1;
    if (got < 0) {
        free(buffer);
        batch->progress = FRAMEGATE_PROGRESS_IDLE;
        return FRAMEGATE_OUTCOME_DONE;
    }
    STAMP(buffer);
    batch->progress = FRAMEGATE_PROGRESS_MORE;
    return give(batch, buffer, (size_t)got, buffer, free, error);
}

static int32_t close_run(void *source, struct framegate_error *error) {
    close(receiver);
    return base_close(source, error);
}

FIXTURE(create, base_destroy, open_run, next, close_run);
