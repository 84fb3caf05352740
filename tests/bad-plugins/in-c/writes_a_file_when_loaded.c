/* Obeys all rules, but acts when it is loaded: the host must not load a file only to find out what it is. */
#include "base.h"

__attribute__((constructor)) static void loaded(void) {
    const char *path = getenv("FRAMEGATE_TEST_FILE");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) fclose(file);
}

FIXTURE(base_create, base_destroy, base_open, base_next, base_close);
