/* Puts pages of all kinds, reads them back, and counts the memory. */
#include "compcache.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES 400
static uint8_t memory[600 * 4096];

static void fill(uint8_t *page, uint64_t index)
{
    uint64_t state = index * 0x9e3779b97f4a7c15u + 1;
    memset(page, index % 3 == 0 ? (int)index : 'c', 4096);
    for (size_t byte = 0; index % 3 != 0 && byte < 4096 * (index % 5) / 5; byte++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        page[byte] = state >> 56;
    }
    if (index % 3 != 0)
        memcpy(page + 4000, &index, sizeof index);
}

#define EXPECT(condition) \
    do { if (!(condition)) { fprintf(stderr, "main.c:%d: %s\n", __LINE__, #condition); exit(1); } } while (0)

int main(void)
{
    uint8_t page[4096], back[4096];
    struct compcache_stats stats;
    alarm(60); /* a panic is an endless loop there */
    EXPECT(compcache_put(0, page) == COMPCACHE_INVALID);
    EXPECT(compcache_init(memory, 100, PAGES) == COMPCACHE_NO_SPACE);
    EXPECT(compcache_init(memory, sizeof memory, PAGES) == COMPCACHE_OK);
    EXPECT(compcache_init(memory, sizeof memory, PAGES) == COMPCACHE_INVALID);
    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t index = 0; index < PAGES; index++) {
            fill(page, index + round);
            EXPECT(compcache_put(index, page) == COMPCACHE_OK);
        }
        for (uint64_t index = 0; index < PAGES; index++) {
            fill(page, index + round);
            EXPECT(compcache_get(index, back) == COMPCACHE_OK);
            EXPECT(memcmp(page, back, 4096) == 0);
        }
    }
    EXPECT(compcache_stats(&stats) == COMPCACHE_OK);
    EXPECT(stats.orig_data_size == PAGES * 4096 && stats.same_pages >= PAGES / 3);
    printf("stored %llu bytes in %llu, of which payload %llu\n",
           (unsigned long long)stats.orig_data_size, (unsigned long long)stats.mem_used_total,
           (unsigned long long)stats.compr_data_size);
    EXPECT(compcache_put(PAGES, page) == COMPCACHE_INVALID);
    EXPECT(compcache_get(0, NULL) == COMPCACHE_INVALID);
    EXPECT(compcache_write(7, 512, page, 512) == COMPCACHE_OK);
    EXPECT(compcache_write(7, 1, page, 512) == COMPCACHE_INVALID);
    EXPECT(compcache_get(7, back) == COMPCACHE_OK && memcmp(back + 512, page, 512) == 0);
    for (uint64_t index = 0; index < PAGES; index += 2)
        EXPECT(compcache_discard(index) == COMPCACHE_OK);
    EXPECT(compcache_get(0, back) == COMPCACHE_ABSENT);
    compcache_compact();
    for (uint64_t index = 1; index < PAGES; index += 2) {
        fill(page, index + 2);
        EXPECT(compcache_get(index, back) == COMPCACHE_OK);
        EXPECT(index == 7 || memcmp(page, back, 4096) == 0);
        EXPECT(compcache_discard(index) == COMPCACHE_OK);
    }
    EXPECT(compcache_discard(1) == COMPCACHE_ABSENT);
    EXPECT(compcache_stats(&stats) == COMPCACHE_OK && stats.mem_used_total == 0);
    puts("no_std: pages come back");
    return 0;
}
