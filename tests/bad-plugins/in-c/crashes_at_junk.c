/* Reads from a detector over TCP, and crashes at a byte that is 0. */
#include <arpa/inet.h>
#include <sys/socket.h>

#include "base.h"

static int port, connection = -1;

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    char text[200];
    int used = 0;
    snprintf(text, sizeof text, "%.*s", (int)settings.len, (const char *)settings.data);
    int fits = sscanf(text, "{\"upstream_url\":\"tcp://127.0.0.1:%d\"}%n", &port, &used) == 1 && used == (int)settings.len;
    if (!fits) {
        host->release(host->context);
        return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "settings: expected upstream_url and nothing else");
    }
    return base_create(host, stream, framegate_string("{}"), source, error);
}

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    (void)error;
    if (connection < 0) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connection = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(connection, (struct sockaddr *)&address, sizeof address) != 0) {
            close(connection);
            connection = -1;
        }
    }
    struct pollfd waits[] = {{self->host.stop_descriptor(self->host.context), POLLIN, 0}, {connection, POLLIN, 0}};
    poll(waits, 2, (int)(left_ns / 1000000));
    char bytes[4096];
    ssize_t got = connection < 0 ? -1 : recv(connection, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got == 0) {
        close(connection);
        connection = -1;
    }
    if (got > 0 && memchr(bytes, 0, (size_t)got)) abort();
    batch->progress = FRAMEGATE_PROGRESS_IDLE;
    return FRAMEGATE_OUTCOME_DONE;
}

static int32_t close_run(void *source, struct framegate_error *error) {
    if (connection >= 0) close(connection);
    connection = -1;
    return base_close(source, error);
}

FIXTURE(create, base_destroy, base_open, next, close_run);
