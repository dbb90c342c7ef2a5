/* log_jsonl: --jsonl, a JSON object a line.
 *
 * The short form is py_malloc_trace's:
 *
 *   {"op":1,"p":"0x5581","p2":"(nil)","size":100,"return_addr":["0x7f10"]}     allocation
 *   {"op":2,"p":"0x5581","p2":"(nil)","size":0,"return_addr":["0x7f10"]}       free
 *   {"op":3,"p":"0x5581","p2":"0x55a0","size":200,"return_addr":["0x7f10"]}    realloc
 *
 * where a realloc comes when it returned. If another thread was given the old chunk's address
 * before that, its readers would take that one away: such a realloc is a free and an
 * allocation. One that failed changed nothing and is left out.
 */
#include <stdlib.h>

#include "ctl/commands.h"
#include "frames.h"

/* Reallocs that have been called and not returned: at most one a thread. */
typedef struct {
    uint64_t *from; /* by a thread's number; 0: none, or it has been written */
    uint32_t open;
} pending;

static void line(mt_logged *log, unsigned op, uint64_t p, uint64_t p2,
                 const mt_logged_event *e) {
    mt_out *out = log->out;
    const mt_logged_stack *stack = &log->stacks.stack[e->stack];
    const uint64_t *address = mt_logged_stacks_addresses(&log->stacks, e->stack);
    uint32_t depth = log->options->depth ? log->options->depth : 1;
    mt_out_put(out, (char[]){'{', '"', 'o', 'p', '"', ':', (char)('0' + op)}, 7);
    mt_out_str(out, ",\"p\":\"");
    mt_out_hex(out, p);
    mt_out_str(out, p2 ? "\",\"p2\":\"" : "\",\"p2\":\"(nil)");
    if (p2) mt_out_hex(out, p2);
    mt_out_str(out, "\",\"size\":");
    mt_out_number(out, op == 2 ? 0 : e->size);
    mt_out_str(out, ",\"return_addr\":[\"");
    for (uint32_t i = 1; i <= depth && i < stack->frames; i++) {
        if (i > 1) mt_out_str(out, "\",\"");
        mt_out_hex(out, address[i]);
    }
    mt_out_str(out, stack->frames < 2 ? "0x0\"]}\n" : "\"]}\n");
}

/* An address that is given out while a realloc of it is under way. */
static void overtaken(mt_logged *log, pending *p, const mt_logged_event *e) {
    for (uint32_t t = 0; t < log->stacks.threads.count; t++) {
        if (t == e->thread || p->from[t] != e->address) continue;
        mt_logged_event free = {.address = e->address};
        line(log, 2, e->address, 0, &free);
        p->from[t] = 0;
        p->open--;
    }
}

static void short_form(mt_logged *log, pending *p, const mt_logged_event *e) {
    bool wanted = !log->counts || log->counts[e->thread];
    if (p->open && (e->op == MT_LOG_ALLOC || e->op == MT_LOG_REALLOC_TO)) overtaken(log, p, e);
    if (!wanted) return;
    if (e->op == MT_LOG_REALLOC_FROM) {
        p->from[e->thread] = e->address;
        p->open++;
    } else if (e->op == MT_LOG_REALLOC_TO && p->from[e->thread]) {
        line(log, 3, p->from[e->thread], e->address, e);
        p->from[e->thread] = 0;
        p->open--;
    } else if (e->op == MT_LOG_FREE) line(log, 2, e->address, 0, e);
    else if (e->op != MT_LOG_REALLOC_FAILED) line(log, 1, e->address, 0, e);
}

/* The stack of an event, which is made once. */
static const mt_out *stack_of(mt_logged *log, mt_out *made, const mt_logged_event *e) {
    mt_out *text = &made[e->stack];
    if (!text->bytes) {
        mt_out_open(text, -1);
        mt_logged_frames_json(log, text, e->stack, e->time, log->options->depth, true);
    }
    return text;
}

static const char *const op_names[] = {[MT_LOG_ALLOC] = "alloc",
                                       [MT_LOG_FREE] = "free",
                                       [MT_LOG_REALLOC_FROM] = "realloc_from",
                                       [MT_LOG_REALLOC_TO] = "realloc_to",
                                       [MT_LOG_REALLOC_FAILED] = "realloc_failed"};

static void long_form(mt_logged *log, mt_out *made, const mt_logged_event *e) {
    mt_out *out = log->out;
    if (log->counts && !log->counts[e->thread]) return;
    const mt_logged_thread *thread = &log->stacks.thread[e->thread];
    mt_out_str(out, "{\"op\":\"");
    mt_out_str(out, op_names[e->op]);
    mt_out_str(out, "\",\"called\":\"");
    mt_out_str(out, mt_logged_frames_called(log, e->stack, e->time, e->op));
    mt_out_str(out, "\",\"ns\":");
    mt_out_number(out, mt_logged_file_wall(&log->file, &log->stacks, e->time));
    mt_out_str(out, ",\"thread\":");
    mt_out_number(out, thread->tid);
    mt_out_str(out, ",\"thread_name\":\"");
    mt_out_json(out, thread->name ? thread->name : "");
    mt_out_str(out, "\",\"address\":\"");
    mt_out_hex(out, e->address);
    if (e->op == MT_LOG_REALLOC_TO && e->from) {
        mt_out_str(out, "\",\"from\":\"");
        mt_out_hex(out, e->from);
    }
    mt_out_str(out, "\",\"size\":");
    mt_out_number(out, e->size);
    mt_out_str(out, ",\"stack\":");
    const mt_out *stack = stack_of(log, made, e);
    mt_out_put(out, stack->bytes, stack->used);
    mt_out_str(out, "}\n");
}

int mt_logged_jsonl(mt_logged *log, bool full) {
    mt_logged_event events[256];
    mt_logged_merge merge;
    pending p = {mt_out_need(calloc(log->stacks.threads.count, sizeof *p.from)), 0};
    mt_out *made = mt_out_need(calloc(log->stacks.count, sizeof *made));
    mt_logged_merge_open(&merge, &log->file, &log->stacks);
    for (uint32_t n; (n = mt_logged_merge_next(&merge, events, 256));)
        for (uint32_t i = 0; i < n; i++) {
            if (full) long_form(log, made, &events[i]);
            else short_form(log, &p, &events[i]);
        }
    log->events = merge.events;
    log->before_damage = merge.before_damage;
    mt_logged_merge_close(&merge);
    for (uint32_t i = 0; i < log->stacks.count; i++) free(made[i].bytes);
    free(made);
    free(p.from);
    return 0;
}
