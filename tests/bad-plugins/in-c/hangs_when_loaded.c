/* Its static constructor never returns. */
#include "base.h"

__attribute__((constructor)) static void loaded(void) {
    for (;;) pause();
}

FIXTURE(base_create, base_destroy, base_open, base_next, base_close);
