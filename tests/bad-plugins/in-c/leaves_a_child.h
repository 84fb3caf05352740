/* A process that never ends. */
static void leave_a_child(void) {
    const char *path = getenv("FRAMEGATE_TEST_FILE");
    pid_t child = fork();
    if (child == 0) {
        if (getenv("FRAMEGATE_TEST_SESSION")) setsid();
        for (;;) pause();
    }
    /* Wait for its session before anybody can end it. */
    while (getenv("FRAMEGATE_TEST_SESSION") && getsid(child) != child) wait_ms(1);
    FILE *file = path ? fopen(path, "a") : NULL;
    if (file) fprintf(file, "%d\n", (int)child);
    if (file) fclose(file);
}
