/* Starts a process when it is loaded, and crashes: the process still holds the pipes of the crashed one. */
#include "base.h"
#include "leaves_a_child.h"

__attribute__((constructor)) static void loaded(void) {
    leave_a_child();
    *(volatile int *)0 = 0;
}

FIXTURE(base_create, base_destroy, base_open, base_next, base_close);
