/* Allocates memory until there is none, then aborts. Touches none of it, and stops at 64 GiB. */
#include <sys/mman.h>

#include "base.h"

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    for (int i = 0; i < 64; i++)
        if (mmap(NULL, (size_t)1 << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
            fprintf(stderr, "out of memory after %d GiB\n", i);
            abort();
        }
    return base_create(host, stream, settings, source, error);
}

FIXTURE(create, base_destroy, base_open, base_next, base_close);
