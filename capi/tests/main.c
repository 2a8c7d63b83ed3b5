/* main [TEST...]: all tests, or these. */
#include "host.h"

#include <unistd.h>

static const struct { const char *name; void (*run)(void); } TESTS[] = {
    { "pool", test_pool },         { "cache", test_cache },     { "errors", test_errors },
    { "failures", test_failures }, { "threads", test_threads }, { "zs", test_zs },
    { "panic", test_panic },       { "stack", test_stack },     { "full", test_full },
};

int main(int argc, char **argv)
{
    size_t ran = 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(540); /* nothing may wait for ever */
    for (size_t test = 0; test < sizeof TESTS / sizeof *TESTS; test++) {
        bool wanted = argc < 2;
        for (int at = 1; at < argc; at++)
            wanted |= strcmp(argv[at], TESTS[test].name) == 0;
        if (!wanted)
            continue;
        printf("%s\n", TESTS[test].name);
        TESTS[test].run();
        ran++;
    }
    EXPECT(ran > 0 && (argc < 2 || ran == (size_t)argc - 1));
    if (argc < 2)
        expect_all_statuses_seen();
    printf("capi: %zu tests passed\n", ran);
    return 0;
}
