/* Crashes in a static constructor, before any function of the interface is called. */
#include "base.h"

__attribute__((constructor)) static void loaded(void) {
    fprintf(stderr, "the vendor's library is not amused\n");
    *(volatile int *)0 = 0;
}

FIXTURE(base_create, base_destroy, base_open, base_next, base_close);
