/* tracer: see the header. Runs inside malloc and free; never blocks, never allocates. */
#include "tracer.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "exact.h"
#include "real.h"
#include "region.h"
#include "seen.h"
#include "stack_pages.h"
#include "strays.h"
#include "thin.h"
#include "unwind.h"

mt_tracer mt_tracer_state = {.thinning = ATOMIC_FLAG_INIT, .odd = {MT_ODD_BITS}};

#define tracer (&mt_tracer_state)

uint64_t mt_tracer_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Only chunks that free may be asked to free; for the VM's own, its functions always look. */
static bool is_odd(const mt_chunk *chunk) {
    return chunk->thread >> MT_CHUNK_ALLOCATOR_SHIFT == MT_ALLOCATOR_MALLOC &&
           (chunk->address & MT_ODD_BITS) != 0;
}

/* Where everything was ever recorded, each free looks for good: most chunks were odd. */
static void count_odd(int64_t step) {
    if (atomic_load_explicit(&tracer->looks_always, memory_order_relaxed)) return;
    uint64_t word = atomic_load_explicit(&tracer->odd.word, memory_order_relaxed), n;
    do {
        n = (word >> 16) + (uint64_t)step;
    } while (!atomic_compare_exchange_weak_explicit(
        &tracer->odd.word, &word, n << 16 | (n ? 0 : MT_ODD_BITS), memory_order_relaxed,
        memory_order_relaxed));
}

void mt_tracer_ended(const mt_chunk *chunk) {
    mt_sites_live(&tracer->sites, chunk->site, -1, chunk->weight, chunk->size);
    mt_sites_drop(&tracer->sites, chunk->site);
    if (is_odd(chunk)) count_odd(-1);
}

static void end(int32_t cell, const mt_chunk *chunk) {
    mt_tracer_ended(chunk);
    mt_levels_abandon(&tracer->chunks, cell, chunk->address);
}

/* The allocator handed out an address that is in the table: nobody told us of its free. */
void mt_tracer_end_missed(uint64_t address) {
    mt_chunk old;
    int32_t cell = mt_levels_take(&tracer->chunks, address, &old);
    if (cell < 0) return;
    end(cell, &old);
    mt_thread_count(MT_COUNT_missed_free);
}

void mt_tracer_handed_out(void *p) {
    if (mt_tracer_on()) mt_tracer_end_missed((uintptr_t)p);
}

static bool put(int32_t site, const mt_chunk *chunk) {
    const mt_chunks *table = &tracer->chunks.level[0];
    /* Several levels refuse nothing until they are full; then nobody knows the share. */
    bool one = !mt_levels_several(&tracer->chunks);
    uint32_t open = one ? mt_chunks_open(table) : table->sets, sets = table->sets;
    int32_t cell = mt_levels_claim(&tracer->chunks, chunk->address);
    if (cell < 0) return false;
    mt_chunk full = *chunk;
    full.site = (uint32_t)site;
    full.weight = MT_WEIGHT_ONE;
    if (open != sets || mt_real_bits(full.p) != MT_REAL_ONE) {
        mt_real_environment saved = mt_real_enter();
        full.weight = (uint64_t)(MT_WEIGHT_ONE / (full.p * open / sets) + 0.5);
        mt_real_leave(saved);
    }
    if (is_odd(&full)) count_odd(1);
    mt_sites_live(&tracer->sites, full.site, 1, full.weight, full.size);
    mt_levels_publish(&tracer->chunks, cell, &full);
    return true;
}

/* A table of one level is thinned before it is full; of several, when it is. */
static inline bool is_crowded(bool recorded) {
    return mt_levels_several(&tracer->chunks) ? !recorded
                                              : mt_chunks_crowded(&tracer->chunks.level[0]);
}

/* The last word of a key tells how many of the others are native. */
static uint32_t native_of(void *const *stack, uint32_t frames) {
    uint32_t n = frames ? mt_context_native((uintptr_t)stack[frames - 1]) : 0;
    return n < frames ? n : 0;
}

bool mt_tracer_record_stack(mt_thread *block, void *chunk, size_t size, const mt_draw *draw,
                            void *const *stack, uint32_t frames) {
    mt_chunk record = {.address = (uintptr_t)chunk,
                       .size = size,
                       .born_ns = draw->begin_ns,
                       .p = draw->p,
                       .pid = block->context.pid,
                       .thread = mt_tracer_thread(block, draw->allocator)};
    mt_tracer_end_missed(record.address);
    int32_t site = mt_sites_hold_near(&tracer->sites, stack, frames, block->near);
    bool recorded = false, thinned = false;
    if (site >= 0 && mt_sites_is_new(&tracer->sites, (uint32_t)site))
        mt_seen_note(stack, native_of(stack, frames));
    if (site >= 0) {
        mt_sites_allocated(&tracer->sites, (uint32_t)site, draw->p, size);
        thinned = !mt_thin_takes(block, (uint32_t)site, &record);
        recorded = !thinned && put(site, &record);
        if (!recorded) mt_sites_drop(&tracer->sites, (uint32_t)site);
    }
    mt_thread_bump(block, recorded  ? MT_COUNT_recorded
                          : thinned ? MT_COUNT_thinned
                                    : MT_COUNT_ignored);
    if (is_crowded(recorded)) mt_thin_make_room(block);
    return recorded;
}

/* True while what raised a guard has not returned. A guard that was jumped out of is found
 * below the stack pointer, on the same stack; on an alternate signal stack nobody can tell,
 * wherever that lies. */
static bool holds(volatile uintptr_t *guard, mt_thread *block, uintptr_t sp) {
    uintptr_t raised = *guard;
    stack_t alternate;
    if (raised == 0) return false;
    if (sp < raised || !mt_stack_pages_join(&block->known, raised, sp)) return true;
    if (sigaltstack(NULL, &alternate) != 0 || alternate.ss_flags & SS_ONSTACK) return true;
    *guard = 0;
    return false;
}

/* By the order of the counters. */
static mt_allocator allocator_of(mt_count which) {
    if (which < MT_COUNT_enif_alloc) return MT_ALLOCATOR_MALLOC;
    if (which < MT_COUNT_enif_alloc_binary) return MT_ALLOCATOR_ENIF;
    if (which < MT_COUNT_enif_alloc_resource) return MT_ALLOCATOR_BINARY;
    if (which < MT_COUNT_enif_alloc_env) return MT_ALLOCATOR_RESOURCE;
    return which < MT_COUNT_driver_alloc ? MT_ALLOCATOR_ENV : MT_ALLOCATOR_DRIVER;
}

mt_inner mt_tracer_enter_allocator(void) {
    mt_thread *block = mt_tls_mine.block;
    mt_inner inner = {.block = block};
    mt_tls_mine.quiet++;
    if (!block) return inner;
    inner.left = atomic_load_explicit(&block->credit.left, memory_order_relaxed);
    atomic_store_explicit(&block->credit.left, UINT64_MAX, memory_order_relaxed);
    return inner;
}

/* What was set aside is void if a reset took it away meanwhile: that begins a new epoch. */
void mt_tracer_leave_allocator(mt_inner inner) {
    mt_tls_mine.quiet--;
    if (!inner.block) return;
    bool same = inner.block->credit.epoch ==
                atomic_load_explicit(&tracer->sampler.epoch, memory_order_relaxed);
    atomic_store_explicit(&inner.block->credit.left, same ? inner.left : 0,
                          memory_order_relaxed);
}

bool mt_tracer_draws_at(mt_count which, size_t size, mt_draw *draw, uintptr_t sp) {
    mt_thread *block = mt_thread_mine();
    mt_thread_count(which);
    if (mt_tls_mine.quiet || (block && mt_sampler_passes(&block->credit, size))) return false;
    if (block && holds(&mt_tls_mine.guard_sp, block, sp)) return false;
    if (!block || holds(&mt_tls_mine.callback_sp, block, sp)) {
        mt_thread_count(MT_COUNT_ignored);
        if (mt_log_on()) mt_log_drop();
        return false;
    }
    if (mt_log_on()) {
        mt_log_draws(block, which);
        mt_tls_mine.guard_sp = sp;
        return true;
    }
    if (!mt_sampler_draws_all(&tracer->sampler, &block->credit, &draw->p)) {
        mt_real_environment saved = mt_real_enter();
        bool drawn = mt_sampler_draw(&tracer->sampler, &block->credit, size, &draw->p);
        mt_real_leave(saved);
        if (!drawn) return false;
    }
    draw->begin_ns = mt_tracer_now();
    draw->allocator = allocator_of(which);
    mt_tls_mine.guard_sp = sp;
    return true;
}

/* Where everything is drawn, room would be wasted on every chunk and no free saved a look. */
bool mt_tracer_aligns(void) {
    if (atomic_load_explicit(&tracer->never_aligns, memory_order_relaxed)) return false;
    return !atomic_load_explicit(&tracer->sampler.fixed, memory_order_relaxed) ||
           atomic_load_explicit(&tracer->sampler.interval, memory_order_relaxed) != 0;
}

static void charge(mt_credit *credit, uint64_t begin_ns) {
    uint64_t now = mt_tracer_now();
    mt_region_header *shared = mt_region_shared();
    if (shared)
        atomic_store_explicit(
            &shared->interval,
            atomic_load_explicit(&tracer->sampler.interval, memory_order_relaxed),
            memory_order_relaxed);
    if (mt_sampler_charge(&tracer->sampler, credit, begin_ns, now) &&
        mt_levels_taken(&tracer->chunks) < mt_levels_slots(&tracer->chunks) / 4)
        mt_sampler_halve(&tracer->sampler, now);
}

uint32_t mt_tracer_complete(mt_thread *block, void **stack, uint32_t frames,
                            mt_allocator allocator) {
    const mt_context *c = &block->context;
    uint64_t word = mt_tracer_context(block, frames, allocator);
    uint32_t erlang = 0;
    for (; erlang < c->erlang_frames; erlang++)
        stack[frames + erlang] = (void *)c->erlang[erlang];
    stack[frames + erlang] = (void *)(uintptr_t)word;
    return frames + erlang + 1;
}

/* The stack goes into the thread's block, not onto the program's stack, which may be small. */
void mt_tracer_record_from(void *p, size_t size, const mt_draw *draw, void *hook, uintptr_t pc,
                           uintptr_t sp, uintptr_t fp) {
    mt_thread *block = mt_tls_mine.block;
    int error = errno;
    if (block && mt_log_on()) {
        mt_log_allocated_from(block, p, size, hook, pc, sp, fp);
    } else if (p && block && mt_tracer_is_exact()) {
        mt_exact_record_from(p, size, draw->allocator, hook, pc, sp, fp);
    } else if (p && block) {
        void **stack;
        uint32_t depth = atomic_load_explicit(&tracer->depth, memory_order_relaxed);
        uint32_t frames = mt_unwind_up(block, depth, hook, pc, sp, fp, &stack);
        uint32_t words = mt_tracer_complete(block, stack, frames, draw->allocator);
        mt_tracer_record_stack(block, p, size, draw, stack, words);
        if (!atomic_load_explicit(&tracer->sampler.fixed, memory_order_relaxed))
            charge(&block->credit, draw->begin_ns);
    }
    mt_tls_mine.guard_sp = 0;
    errno = error;
}

/* Nobody knows of it. */
bool mt_tracer_stray(const void *p) {
    const mt_thread *block = mt_tls_mine.block;
    mt_strays_note(p, block ? (uint32_t)block->tid : 0);
    return false;
}

bool mt_tracer_forget(void *p) {
    mt_chunk chunk;
    if (mt_log_on()) {
        mt_log_freed_from(p, NULL, 0, 0, 0);
        return false;
    }
    if (mt_levels_several(&tracer->chunks))
        return (p && mt_exact_forget(p)) || mt_tracer_stray(p);
    int32_t cell = p ? mt_levels_take(&tracer->chunks, (uintptr_t)p, &chunk) : -1;
    if (cell >= 0) end(cell, &chunk);
    return cell >= 0 || mt_tracer_stray(p);
}

void mt_tracer_hold(void *p, mt_held *held) {
    held->epoch = atomic_load_explicit(&tracer->epoch, memory_order_relaxed);
    if (mt_log_on()) {
        mt_log_reallocates(p, mt_log_is_free());
        p = NULL;
    }
    held->cell = p ? mt_levels_take(&tracer->chunks, (uintptr_t)p, &held->chunk) : -1;
    if (held->cell < 0) mt_tracer_stray(p);
}

void mt_tracer_release(const mt_held *held) {
    if (held->cell >= 0) end(held->cell, &held->chunk);
}

/* A record from before a reset stays forgotten. */
void mt_tracer_restore(const mt_held *held) {
    if (held->cell < 0) return;
    if (held->epoch == atomic_load_explicit(&tracer->epoch, memory_order_relaxed))
        mt_levels_publish(&tracer->chunks, held->cell, &held->chunk);
    else end(held->cell, &held->chunk);
}

void mt_tracer_end_all(void) {
    for (int32_t i = 0; (i = mt_levels_next(&tracer->chunks, i)) >= 0; i++) {
        mt_chunk chunk;
        if (mt_levels_take_cell(&tracer->chunks, i, &chunk)) end(i, &chunk);
    }
}
