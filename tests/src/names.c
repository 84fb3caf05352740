/* A simulated name server: loaded into a program with LD_PRELOAD, it answers queries for names that end in ".test" from a file.
 *
 * NAMES is the file's path; its lines are "NAME ADDRESS": a numeric address, or "silent" for a server that does not answer. A name
 * without a line is unknown. The file may be replaced at any time; a query to a silent server then gets the new answer, or fails after
 * a minute. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static int is_ours(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    return length > 5 && !strcmp(name + length - 5, ".test");
}

/* The address of a name; empty if it has none. */
static void address_of(const char *wanted, char address[64])
{
    char name[256], found[64];
    const char *path = getenv("NAMES");
    FILE *file = path ? fopen(path, "re") : NULL;
    address[0] = 0;
    while (file && fscanf(file, "%255s %63s", name, found) == 2)
        if (!strcmp(name, wanted))
            strcpy(address, found);
    if (file)
        fclose(file);
}

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict result)
{
    struct addrinfo numeric = hints ? *hints : (struct addrinfo){0};
    char address[64];
    lookup *real;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!is_ours(name))
        return real(name, service, hints, result);
    for (int waited = 0; address_of(name, address), !strcmp(address, "silent"); waited++) {
        if (waited == 6000)
            return EAI_AGAIN;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    numeric.ai_flags |= AI_NUMERICHOST;
    return address[0] ? real(address, service, &numeric, result) : EAI_NONAME;
}
