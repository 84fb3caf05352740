/* A source in C that is a program of its own, to copy: it counts, and gives each number as an image.
 *
 * It speaks the protocol of docs/isolation/protocol.md, and uses nothing of framegate. README.md says how to run it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "all numbers of the protocol are little-endian");

enum { WELCOME = 1, CREATE, OPEN, CLOSE, SET, TRIGGER, ASK, PING, GROWN, BYE };         /* to this program */
enum { HELLO = 1, DONE, FAILED, STATUS, PONG, TYP, EVENTS, ENDED, BROKEN, WAIT, MORE }; /* to the host */
enum { OPTIONAL = 0x8000, BLOCK = 64 << 10, WINDOW = 1 << 20, RELEASES = 64, MOST_EVENTS = 1024 };
enum { DATA = 2, SETTINGS = 1, INTERNAL = 4 };   /* the position of an event; whose fault a failure is */

struct head { uint32_t len; uint16_t kind, stream; uint32_t run, count; };
struct event { uint8_t kind, typ; uint16_t frames; };
struct frame { uint32_t block, offset, len; };

static int host, room;                          /* the socket, and a pipe that is readable when there is room */
static uint8_t *memory, *board;                 /* shared with the host */
static uint32_t blocks, most_blocks;            /* number of blocks now, and the highest possible number */
static uint32_t *frames_in, *blocks_at;         /* of each block: frames given in it; blocks in use from it on */
static uint8_t *in, out[16 + MOST_EVENTS * 16]; /* received bytes that are not handled yet; a message to the host */
static size_t in_len, in_room;
static uint32_t run;
static bool is_giving, may_ask = true;          /* a run is open and has not ended; MORE may help */
static uint64_t events = 100, bytes = 1000;     /* settings */
static uint64_t given, sent, last;              /* events of this run; bytes in all runs; bytes of the last event */

/* Ends the program. The text has no prefix such as <3>, so that the host's message about the end has it, too. */
static _Noreturn void die(const char *text) {
    fprintf(stderr, "%s\n", text);
    exit(1);
}

/* Receives what the host has sent, without waiting. Ends when the host has ended. */
static void receive(void) {
    if (in_room - in_len < BLOCK && !(in = realloc(in, in_room = 2 * in_room + BLOCK)))
        die("there is no memory");
    ssize_t len = recv(host, in + in_len, in_room - in_len, MSG_DONTWAIT);
    if (len == 0 || (len < 0 && errno != EAGAIN && errno != EINTR)) exit(0);
    if (len > 0) in_len += (size_t)len;
}

/* Sends a message. Receives while it waits: the host may be waiting to send, too. */
static void say(uint16_t kind, uint32_t count, const void *body, size_t len) {
    struct head head = {(uint32_t)len, kind, 0, run, count};
    memcpy(out, &head, sizeof head);
    if (len > 0) memmove(out + sizeof head, body, len);
    for (size_t done = 0; done < sizeof head + len;) {
        ssize_t now = send(host, out + done, sizeof head + len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (now > 0) {
            done += (size_t)now;
        } else if (errno == EAGAIN) {
            struct pollfd end = {host, POLLIN | POLLOUT, 0};
            if (poll(&end, 1, -1) > 0 && end.revents != POLLOUT) receive();
        } else if (errno != EINTR) {
            exit(0);
        }
    }
}

/* Answers FAILED: whose fault it is, and a text for people. */
static void fail(uint32_t code, const char *text) {
    char body[200];
    memcpy(body, &code, 4);
    say(FAILED, 0, body, 4 + (size_t)snprintf(body + 4, sizeof body - 4, "%s", text));
}

/* Reads the number of a key in JSON, if the key is there. Enough for an example: a real source needs a parser. */
static bool number(const char *json, const char *key, uint64_t most, uint64_t *value) {
    for (const char *at = json; (at = strstr(at, key)) != NULL;) {
        at += strlen(key);
        while (*at == ' ') at++;
        if (*at != ':') continue; /* not a key */
        char *end;
        unsigned long long found = strtoull(at + 1, &end, 10);
        if (end == at + 1 || !strchr(",} ", *end) || found > most) return false;
        *value = found;
    }
    return true;
}

/* The first message, with three descriptors: shared memory, board, end of a pipe. */
static void greet(void) {
    const char *name = getenv("FRAMEGATE_SOCKET");
    if (name == NULL) die("framegate starts this program: see README.md");
    host = atoi(name);
    fcntl(host, F_SETFD, FD_CLOEXEC); /* not for processes that this one starts */
    struct head head;
    char space[CMSG_SPACE(3 * sizeof(int))], body[4096] = "";
    struct iovec piece = {&head, sizeof head};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    ssize_t came = recvmsg(host, &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
    struct cmsghdr *with = came == sizeof head ? CMSG_FIRSTHDR(&message) : NULL;
    if (with == NULL || with->cmsg_type != SCM_RIGHTS || with->cmsg_len != CMSG_LEN(3 * sizeof(int)) ||
        head.kind != WELCOME || head.len >= sizeof body || recv(host, body, head.len, MSG_WAITALL) != (ssize_t)head.len)
        die("the host has sent no welcome");
    uint64_t block = 0, now = 0, most = 0;
    number(body, "\"block\"", UINT32_MAX, &block), number(body, "\"blocks\"", UINT32_MAX, &now);
    number(body, "\"most_blocks\"", UINT32_MAX, &most);
    if (strstr(body, "\"protocol\":[1,") == NULL || block != BLOCK || most == 0)
        die("the host has another version of the protocol");
    int shared[3];
    memcpy(shared, CMSG_DATA(with), sizeof shared);
    blocks = (uint32_t)now, most_blocks = (uint32_t)most, room = shared[2];
    memory = mmap(NULL, most * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, shared[0], 0);
    board = mmap(NULL, RELEASES + most * 4, PROT_READ | PROT_WRITE, MAP_SHARED, shared[1], 0);
    frames_in = calloc(most, 4), blocks_at = calloc(most, 4);
    if (memory == MAP_FAILED || board == MAP_FAILED || !frames_in || !blocks_at)
        die("the shared memory cannot be used");
    const char hello[] = "{\"protocol\":[1,0],\"name\":\"counter\",\"version\":\"0.1.0\"}";
    say(HELLO, 0, hello, sizeof hello - 1);
    say(TYP, 0, "\0counter", 8); /* type 0 */
}

/* Bytes that the host has taken, and frames of a block that it has released. Acquire: the host has read them before. */
static uint64_t taken(void) { return atomic_load_explicit((_Atomic uint64_t *)board, memory_order_acquire); }
static uint32_t released(uint32_t block) {
    return atomic_load_explicit((_Atomic uint32_t *)(board + RELEASES) + block, memory_order_acquire);
}

/* Finds this many free blocks in a row. Takes the lowest ones: they are probably in the caches. */
static bool find(uint32_t wanted, uint32_t *first) {
    for (uint32_t at = 0, free = 0; at < blocks;) {
        if (blocks_at[at] > 0 && released(at) != frames_in[at]) {
            at += blocks_at[at], free = 0;
            continue;
        }
        blocks_at[at++] = 0;
        if (++free == wanted) return *first = at - wanted, true;
    }
    return false;
}

static uint32_t blocks_of_event(void) { return bytes > BLOCK ? (uint32_t)((bytes + BLOCK - 1) / BLOCK) : 1; }

/* Gives some events, or the end of the run. Returns whether there was room. Small events share a block. */
static bool give(void) {
    if (given == events) return is_giving = false, say(ENDED, 0, NULL, 0), true;
    uint32_t block;
    if (sent - taken() > (last > WINDOW ? last : WINDOW) || !find(blocks_of_event(), &block)) return false;
    uint64_t stride = (bytes + 15) / 16 * 16, count = stride == 0 ? MOST_EVENTS : BLOCK / stride;
    if (count == 0) count = 1;
    if (count > MOST_EVENTS) count = MOST_EVENTS;
    if (count > events - given) count = events - given;
    uint8_t *body = out + sizeof(struct head);
    for (uint64_t i = 0; i < count; i++, given++) {
        struct event event = {DATA, 0, 1};
        struct frame frame = {block, (uint32_t)(i * stride), (uint32_t)bytes};
        memcpy(body + i * sizeof event, &event, sizeof event);
        memcpy(body + count * sizeof event + i * sizeof frame, &frame, sizeof frame);
        uint8_t *image = memory + (size_t)block * BLOCK + frame.offset;
        for (uint64_t at = 0; at < bytes; at++) image[at] = (uint8_t)(given + at);
        if (bytes >= sizeof given) memcpy(image, &given, sizeof given);
    }
    frames_in[block] += (uint32_t)count, blocks_at[block] = blocks_of_event();
    sent += count * bytes, last = bytes;
    say(EVENTS, (uint32_t)count, body, count * (sizeof(struct event) + sizeof(struct frame)));
    return true;
}

static void create(const char *json) {
    const uint64_t most = (uint64_t)most_blocks * BLOCK < UINT32_MAX ? (uint64_t)most_blocks * BLOCK : UINT32_MAX;
    if (!number(json, "\"events\"", INT64_MAX, &events)) {
        fail(SETTINGS, "settings.events: expected a whole number from 0");
    } else if (!number(json, "\"bytes\"", most, &bytes)) {
        fail(SETTINGS, "settings.bytes: expected a whole number from 0, at most the size of shared_memory");
    } else {
        fprintf(stderr, "<6>will count to %llu\n", (unsigned long long)events);
        say(DONE, 0, "[]", 2); /* no parameters */
    }
}

static void obey(struct head head, const char *body) {
    char status[100];
    uint32_t now = 0;
    switch (head.kind) {
    case CREATE: create(body); break;
    case OPEN: /* connect to the detector here */
        run = head.run, given = 0, is_giving = true;
        say(DONE, 0, NULL, 0);
        break;
    case CLOSE: /* disconnect here */
        is_giving = false;
        say(DONE, 0, NULL, 0);
        break;
    case SET: fail(SETTINGS, "there are no parameters"); break;
    case TRIGGER: fail(INTERNAL, "this source gives events by itself"); break;
    case ASK:
        snprintf(status, sizeof status, "{\"counters\":[[\"images\",%llu]]}", (unsigned long long)given);
        say(STATUS, 0, status, strlen(status));
        break;
    case PING: say(PONG, 0, NULL, 0); break;
    case GROWN:
        if (head.len == sizeof now) memcpy(&now, body, sizeof now);
        if (now > blocks && now <= most_blocks) blocks = now, may_ask = true;
        break;
    case BYE: exit(0);
    default:
        if (head.kind < OPTIONAL) die("the host sent a message of an unknown kind");
    }
}

/* Handles the messages that have come as a whole. Returns whether there was one. */
static bool handle(void) {
    struct head head;
    size_t at = 0;
    while (in_len - at >= sizeof head) {
        memcpy(&head, in + at, sizeof head);
        if (in_len - at - sizeof head < head.len) break;
        char *body = malloc(head.len + 1ul); /* `in` may move while a message is answered */
        if (body == NULL) die("there is no memory");
        memcpy(body, in + at + sizeof head, head.len);
        body[head.len] = 0;
        at += sizeof head + head.len;
        obey(head, body);
        free(body);
    }
    memmove(in, in + at, in_len -= at);
    return at > 0;
}

/* Waits until the host has made room, or has sent a message. */
static void wait_for_room(void) {
    uint8_t seen[12], wakes[512]; /* one wake is 8 bytes */
    uint64_t now = taken();
    uint32_t sum = 0;
    for (uint32_t block = 0; block < blocks; block++) sum += released(block);
    if (give()) return; /* again, because the host wakes only for a change after these numbers */
    if (may_ask && sent == now && blocks < most_blocks) {
        uint64_t wanted = blocks + (uint64_t)(blocks_of_event() > blocks ? blocks_of_event() : blocks);
        uint32_t more = wanted < most_blocks ? (uint32_t)wanted : most_blocks;
        may_ask = false; /* until the answer has brought some, or something was released */
        say(MORE, 0, &more, sizeof more);
    }
    memcpy(seen, &now, 8), memcpy(seen + 8, &sum, 4);
    say(WAIT, 0, seen, sizeof seen);
    struct pollfd ends[2] = {{host, POLLIN, 0}, {room, POLLIN, 0}};
    if (handle() || poll(ends, 2, -1) <= 0) return;
    if (ends[1].revents && read(room, wakes, sizeof wakes) > 0) may_ask = true;
}

int main(void) {
    greet();
    for (;;) {
        struct pollfd end = {host, POLLIN, 0};
        receive();
        if (handle()) continue;
        if (!is_giving) poll(&end, 1, -1);
        else if (!give()) wait_for_room();
    }
}
