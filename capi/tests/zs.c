/* Code as it is written for zsmalloc, with our pool. */
#define COMPCACHE_ZS_NAMES
#include "compcache_zs.h"
#include "host.h"

enum { OBJECTS = 500, PAGE = 4096 };

static long memory_left = -1;

static void *memory_alloc(void *context, size_t size, size_t align)
{
    void *memory = NULL;
    (void)context;
    if (memory_left == 0)
        return NULL;
    EXPECT(posix_memalign(&memory, align, size) == 0);
    return memory;
}

static void memory_free(void *context, void *memory, size_t size)
{
    (void)context;
    EXPECT(size > 4096);
    free(memory);
}

void test_zs(void)
{
    static unsigned char bytes[PAGE], local_copy[PAGE];
    static unsigned long handles[OBJECTS];
    struct test_host *test = host_new(PAGE, true);
    struct compcache_zs_config config;
    STATUS(compcache_zs_config_init(NULL, sizeof config), COMPCACHE_ERR_NULL_POINTER);
    OK(compcache_zs_config_init(&config, sizeof config));
    EXPECT(compcache_zs_create_pool("none", NULL) == NULL);
    EXPECT(compcache_zs_create_pool("none", &config) == NULL);
    config.host = &test->host;
    EXPECT(compcache_zs_create_pool("none", &config) == NULL);
    config.memory_alloc = memory_alloc;
    config.memory_free = memory_free;
    memory_left = 0;
    EXPECT(compcache_zs_create_pool("none", &config) == NULL);
    memory_left = -1;
    test->locks_left = 2;
    EXPECT(compcache_zs_create_pool("none", &config) == NULL);
    test->locks_left = -1;
    struct compcache_pool_options options = pool_options();
    options.page_size = 5000;
    config.options = &options;
    EXPECT(compcache_zs_create_pool("none", &config) == NULL);
    config.options = NULL;
    struct zs_pool *pool = compcache_zs_create_pool("test", &config);
    EXPECT(pool != NULL);

    EXPECT(zs_malloc(pool, 0, 0) == 0 && zs_malloc(pool, PAGE + 1, 0) == 0 && zs_malloc(NULL, 1, 0) == 0);
    EXPECT(zs_huge_class_size(pool) > 4000 && zs_huge_class_size(pool) < PAGE);
    EXPECT(zs_get_total_pages(pool) == 0);
    EXPECT(zs_obj_read_begin(pool, 0, local_copy) == NULL);

    size_t copied = 0, in_place = 0;
    for (size_t at = 0; at < OBJECTS; at++) {
        size_t size = 1 + at * 2711 % PAGE;
        fill(bytes, size, at, 256);
        handles[at] = zs_malloc(pool, size, 0 /* flags */, -1 /* node */);
        EXPECT(handles[at] != 0);
        zs_obj_write(pool, handles[at], bytes, size);
    }
    EXPECT(zs_get_total_pages(pool) == (unsigned long)test->pages);
    for (size_t at = 0; at < OBJECTS; at++) {
        size_t size = 1 + at * 2711 % PAGE;
        fill(bytes, size, at, 256);
        void *memory = zs_obj_read_begin(pool, handles[at], local_copy);
        EXPECT(memory != NULL && memcmp(memory, bytes, size) == 0);
        memory == local_copy ? copied++ : in_place++;
        if (memory != local_copy && at < 20)
            compcache_zs_destroy_pool(pool); /* refused: somebody reads */
        zs_obj_read_end(pool, handles[at], memory);
        zs_obj_read_end(pool, handles[at], memory); /* once is enough, twice harmless */
    }
    EXPECT(copied > 50 && in_place > 50);
    EXPECT(test->messages > 0 && strstr(test->message, "not destroyed") != NULL);
    printf("  %zu objects were read in place, %zu through the local copy\n", in_place, copied);

    for (size_t at = 0; at < OBJECTS; at += 2)
        zs_free(pool, handles[at]);
    zs_free(pool, handles[0]);
    zs_free(pool, 0);
    unsigned long freed = zs_compact(pool);
    struct zs_pool_stats stats = { 0 };
    compcache_zs_pool_stats_get(pool, &stats);
    EXPECT(stats.pages_compacted >= freed);
    for (size_t at = 1; at < OBJECTS; at += 2) {
        size_t size = 1 + at * 2711 % PAGE;
        fill(bytes, size, at, 256);
        void *memory = zs_obj_read_begin(pool, handles[at], local_copy);
        EXPECT(memory != NULL && memcmp(memory, bytes, size) == 0);
        zs_obj_read_end(pool, handles[at], memory);
        if (at % 4 == 1)
            zs_free(pool, handles[at]);
    }
    test->pages_left = 0;
    while (zs_malloc(pool, PAGE, 0) != 0)
        ;
    zs_destroy_pool(pool);
    zs_destroy_pool(NULL);
    host_end(test);
}
