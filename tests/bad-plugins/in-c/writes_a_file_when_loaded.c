/* Does nothing wrong, but something before it is asked to: whoever wants to know what this file is must not run it. */
#include "base.h"

__attribute__((constructor)) static void loaded(void) {
    const char *path = getenv("FRAMEGATE_TEST_FILE");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) fclose(file);
}

FIXTURE(base_create, base_destroy, base_open, base_next, base_close);
