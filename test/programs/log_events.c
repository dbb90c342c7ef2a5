/* log_events FILE EVENTS THREADS LIVE STACKS: a synthetic event log, to measure what reads it:
 * allocations and frees, LIVE chunks at a time, each thread its own; the free's chunk is one of
 * the last two (a quarter), or any. */
#include "../c/log_made.h"

static uint64_t seed = 88172645463325252ull;

static uint64_t any(uint64_t n) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % n;
}

static void define(log_made *m, uint32_t stacks, uint32_t threads) {
    mt_log_start start = {.pid = 4711,
                          .wall_ns = 1700000000000000000ull,
                          .ns = 1000,
                          .ticks = 1000,
                          .clock = MT_LOG_CLOCK_NS,
                          .tick_shift = m->shift,
                          .depth = 16};
    made_start(m, 1, &start, "synthetic", 10);
    for (uint32_t t = 1; t <= threads; t++) made_thread(m, t, 4710 + t, "worker");
    for (uint32_t i = 1; i <= stacks; i++) {
        uint64_t frame[12];
        for (int f = 0; f < 12; f++) frame[f] = 0x550000001000 + any(1 << 20);
        made_stack(m, 1, i, frame, 12);
        if (i % 1000 == 0) made_flush(m, 1, 1000);
    }
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    uint64_t events = strtoull(argv[2], NULL, 10);
    uint32_t threads = (uint32_t)atoi(argv[3]), stacks = (uint32_t)atoi(argv[5]);
    uint64_t live = strtoull(argv[4], NULL, 10), now = 2000, next = 0x7f0000000000;
    log_made m;
    made_open(&m, 4, 8192);
    m.to = fopen(argv[1], "w");
    if (!m.to || threads == 0 || threads >= MADE_THREADS || live < 2 || stacks == 0) return 1;
    define(&m, stacks, threads);
    uint64_t *chunk = calloc(live, sizeof *chunk), turn = 0;
    while (m.events < events) {
        uint32_t t = 1 + (uint32_t)(turn / 40 % threads);
        uint64_t i = any(4) == 0 ? turn % live : any(live);
        turn++;
        now += 20 + any(60);
        if (chunk[i]) {
            made_event(&m, t, MT_LOG_FREE, now, chunk[i], 0, 0);
            now += 20 + any(60);
        }
        uint64_t address = any(8) && chunk[i] ? chunk[i] : (next += 16 + any(32) * 16);
        made_event(&m, t, MT_LOG_ALLOC, now, address, 1 + any(2000), 1 + (uint32_t)any(stacks));
        chunk[i] = address;
    }
    made_end(&m, 1, MT_LOG_END_EXIT, 0);
    for (uint32_t t = 1; t <= threads; t++) made_flush(&m, t, now);
    fclose(m.to);
    made_close(&m);
    free(chunk);
    return 0;
}
