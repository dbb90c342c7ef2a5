/* The corpus' allocation sites: one C function each, never inlined and never left by a tail
 * call, so that each has a stack and a culprit of its own; and a book of what each holds, kept
 * beside the allocator, to compare Mtrace's figures with. Any thread may call everything here.
 */
#ifndef CORPUS_SITES_H
#define CORPUS_SITES_H

#include <stddef.h>

#include <erl_nif.h>

/* One for each workload's place that allocates; see the workloads in lib. */
#define SITES(SITE)                                                                            \
    SITE(kept_entry)                                                                           \
    SITE(filling_entry)                                                                        \
    SITE(lru_entry)                                                                            \
    SITE(lru_long_entry)                                                                       \
    SITE(breathing_buffer)                                                                     \
    SITE(session_new)                                                                          \
    SITE(session_state)                                                                        \
    SITE(request_parse)                                                                        \
    SITE(request_reply)                                                                        \
    SITE(batch_collect)                                                                        \
    SITE(growth_add)                                                                           \
    SITE(hash_resize)                                                                          \
    SITE(cursor_open)                                                                          \
    SITE(cursor_rows)                                                                          \
    SITE(handed_binary)                                                                        \
    SITE(connection_open)                                                                      \
    SITE(connection_buffer)                                                                    \
    SITE(connection_host)                                                                      \
    SITE(queue_push)                                                                           \
    SITE(lazy_table)                                                                           \
    SITE(config_entry)                                                                         \
    SITE(config_key)                                                                           \
    SITE(arena_block)                                                                          \
    SITE(message_env)                                                                          \
    SITE(body_append)                                                                          \
    SITE(name_intern)                                                                          \
    SITE(tail_timer)                                                                           \
    SITE(job_scratch)                                                                          \
    SITE(frame_buffer)                                                                         \
    SITE(call_leak)                                                                            \
    SITE(error_path_open)                                                                      \
    SITE(slow_leak)                                                                            \
    SITE(big_leak)                                                                             \
    SITE(label_copy)                                                                           \
    SITE(log_append)                                                                           \
    SITE(kept_cursor)                                                                          \
    SITE(kept_cursor_rows)                                                                     \
    SITE(table_cursor)                                                                         \
    SITE(enif_leak)                                                                            \
    SITE(env_leak)                                                                             \
    SITE(thread_leak)                                                                          \
    SITE(shallow_object)                                                                       \
    SITE(shallow_inner)                                                                        \
    SITE(dirty_leak)                                                                           \
    SITE(busy_work)                                                                            \
    SITE(busy_leak)                                                                            \
    SITE(unbounded_entry)                                                                      \
    SITE(burst_leak)                                                                           \
    SITE(waiter_add)                                                                           \
    SITE(binary_leak)                                                                          \
    SITE(reload_entry)                                                                         \
    SITE(creeping_batch)                                                                       \
    SITE(index_add)

enum site {
#define SITE(name) SITE_##name,
    SITES(SITE)
#undef SITE
        SITE_COUNT
};

/* By which allocator. XMALLOC goes through a function that all of its sites share; STRING is
 * strdup of a text that is size - 1 long; INDEX is a C++ container, which an element of size is
 * added to. */
enum way { MALLOC, CALLOC, ALIGNED, STRING, XMALLOC, ENIF, ENV, RESOURCE, BINARY, INDEX, WAYS };

extern const char *const corpus_site_names[SITE_COUNT];
extern const char *const corpus_way_names[WAYS];

/* What a resource of the corpus begins with: its inner part, which its destructor frees unless
 * it forgets to. */
struct corpus_object {
    enum site site, inner_site;
    size_t size, inner_size;
    void *inner;
    int forgets;
};

/* Called once, before any other, with the type of the resources. */
void corpus_sites_init(ErlNifResourceType *type);

/* Allocates size bytes at a site, or grows old, which has old_size bytes and came from there.
 * The caller owns the result, but for RESOURCE, which is counted by references. NULL: no
 * memory. For RESOURCE size is at least that of a corpus_object; BINARY returns an ErlNifBinary
 * in static memory of the thread. */
void *corpus_take(enum site site, enum way way, void *old, size_t old_size, size_t size);

/* Gives back what corpus_take returned, but for RESOURCE. */
void corpus_give(enum site site, enum way way, void *p, size_t size);

/* For what is not given back by corpus_give: takes it out of the book. */
void corpus_gone(enum site site, size_t size);

/* How many chunks and bytes the site holds, by the book. */
void corpus_book(enum site site, long *chunks, long *bytes);

#endif
