/* The C side of src/lib.rs. 0: done; 1: no such page (it reads as zeroes); below 0: refused. */
#include <stddef.h>
#include <stdint.h>

enum { COMPCACHE_OK = 0, COMPCACHE_ABSENT = 1, COMPCACHE_INVALID = -1, COMPCACHE_NO_SPACE = -2,
       COMPCACHE_CORRUPT = -3 };

struct compcache_stats {
    uint64_t orig_data_size, compr_data_size, mem_used_total, same_pages, huge_pages;
};

int compcache_init(void *memory, size_t bytes, uint64_t pages);
int compcache_put(uint64_t index, const uint8_t page[4096]);
int compcache_get(uint64_t index, uint8_t page[4096]);
int compcache_write(uint64_t index, size_t offset, const uint8_t *bytes, size_t len);
int compcache_discard(uint64_t index);
uint64_t compcache_compact(void);
int compcache_stats(struct compcache_stats *stats);
