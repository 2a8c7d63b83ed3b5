/* Memory of the library that somebody overwrote: checks say so, and a panic reaches the hook with
 * file and line, in a process of its own. */
#include "host.h"

#include <sys/wait.h>
#include <unistd.h>

static void hook(void *context, const char *file, size_t file_len, uint32_t line, const char *message,
                 size_t message_len)
{
    EXPECT(context == (void *)hook && file_len > 3 && line > 0);
    EXPECT(memcmp(file + file_len - 3, ".rs", 3) == 0);
    printf("  panic in %.*s:%u %.*s\n", (int)file_len, file, line, (int)message_len, message);
    fflush(stdout);
    _exit(42);
}

static void overwrite(bool with_hook)
{
    struct test_host *test = host_new(4096, true);
    struct compcache_pool_options options = pool_options();
    struct compcache_pool *pool = pool_new(test, &options);
    uint64_t handles[64];
    for (size_t at = 0; at < 64; at++)
        OK(compcache_pool_alloc(pool, 1000 + at, &handles[at]));
    if (with_hook)
        compcache_set_panic_hook(hook, (void *)hook);
    /* Everything but the objects' numbers is overwritten: they are in pages that hold handles. */
    for (size_t at = 0; at < test->page_list_len; at++) {
        unsigned char *page = test->page_list[at];
        for (size_t byte = 0; byte < 4096; byte += 4)
            if (page[byte + 0] == 0 && page[byte + 1] == 0 && page[byte + 2] == 0 && page[byte + 3] == 0)
                memset(page + byte, 0x5b, 4);
    }
    for (size_t at = 0; at < 64; at += 2)
        compcache_pool_free(pool, handles[at]);
    compcache_pool_compact(pool, UINT64_MAX, NULL);
    host_destroy_pages(test);
    compcache_pool_compact(pool, UINT64_MAX, NULL);
    compcache_pool_destroy(pool);
    _exit(1); /* no panic */
}

static int status_of(bool with_hook)
{
    int status = 0;
    fflush(stdout);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0)
        overwrite(with_hook);
    EXPECT(waitpid(child, &status, 0) == child);
    return status;
}

/* Tables that contradict each other, but in which nothing leads astray. */
static void contradiction(void)
{
    static unsigned char bytes[2000];
    struct test_host *test = host_new(4096, true);
    struct compcache_cache_options options = cache_options(8);
    struct compcache_cache *cache = cache_new(test, &options);
    struct compcache_pool_options pool_opts = pool_options();
    struct compcache_pool *pool = pool_new(test, &pool_opts);
    uint64_t first, second;
    fill(bytes, sizeof bytes, 3, 256);
    OK(compcache_pool_alloc_from(pool, bytes, sizeof bytes, &first));
    OK(compcache_pool_alloc_from(pool, bytes, sizeof bytes, &second));
    OK(compcache_pool_check(pool));
    OK(compcache_cache_check(cache));
    /* The word before an object says whose it is. */
    struct compcache_reading reading = { { 0 } };
    struct compcache_fragment piece[2];
    size_t count;
    OK(compcache_pool_read_begin(pool, first, &reading, piece, 2, &count));
    uint32_t *header = (uint32_t *)(uintptr_t)piece[0].bytes - 1, was = *header;
    OK(compcache_pool_read_end(&reading));
    *header ^= 1u << 20;
    STATUS(compcache_pool_check(pool), COMPCACHE_ERR_INTERNAL);
    *header = was;
    OK(compcache_pool_check(pool));
    pool_end(pool);
    cache_end(cache);
    host_end(test);
}

void test_panic(void)
{
    contradiction();
    int status = status_of(true);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    /* Without a hook the processor traps. */
    status = status_of(false);
    EXPECT(WIFSIGNALED(status));
}
