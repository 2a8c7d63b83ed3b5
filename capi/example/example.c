/* The least a program supplies: pages, and memory for the cache itself. */
#include <compcache.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *page_alloc(void *context)
{
    (void)context;
    return aligned_alloc(4096, 4096);
}

static void page_free(void *context, void *page)
{
    (void)context;
    free(page);
}

static void check(enum compcache_status status, const char *what)
{
    if (status != COMPCACHE_OK) {
        fprintf(stderr, "%s: %s\n", what, compcache_strerror((int)status));
        exit(1);
    }
}

int main(void)
{
    struct compcache_host host;
    struct compcache_cache_options options;
    struct compcache_cache *cache;
    size_t size, align;

    check(compcache_host_init(&host, sizeof host), "host");
    host.page_alloc = page_alloc;
    host.page_free = page_free;
    check(compcache_cache_options_init(&options, sizeof options), "options");
    options.pages = 1 << 18; /* a device of 1 GiB */

    check(compcache_cache_layout(&options, &host, &size, &align), "layout");
    void *memory = aligned_alloc(align, (size + align - 1) / align * align);
    if (memory == NULL)
        return 1;
    check(compcache_cache_create(memory, size, &options, &host, &cache), "create");

    char page[4096] = "a cold page", back[4096];
    for (uint64_t index = 0; index < 1000; index++) {
        memcpy(page + 100, &index, sizeof index);
        check(compcache_cache_put(cache, index, page), "put");
    }
    check(compcache_cache_get(cache, 999, back, NULL), "get");

    struct compcache_mm_stat stat = { .struct_size = sizeof stat };
    check(compcache_cache_get_mm_stat(cache, &stat), "mm_stat");
    printf("compcache %s: %llu bytes of pages in %llu bytes of memory\n", compcache_version(),
           (unsigned long long)stat.orig_data_size, (unsigned long long)stat.mem_used_total);

    check(compcache_cache_destroy(cache), "destroy");
    free(memory);
    return memcmp(page, back, sizeof page) != 0;
}
