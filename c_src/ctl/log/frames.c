/* log_frames: stacks as text. */
#include "frames.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/show/report.h"
#include "ctl/show/view.h"

static uint32_t frames_of(const mt_logged *log, uint32_t stack, uint32_t depth) {
    uint32_t frames = log->stacks.stack[stack].frames;
    return depth && depth < frames ? depth : frames;
}

/* As in every report of mtracectl. */
void mt_logged_frames_text(mt_logged *log, uint32_t stack, uint64_t at, uint32_t depth) {
    const mt_view view = {.names = log->names};
    const mt_census_site site = {.stack = mt_logged_stacks_addresses(&log->stacks, stack),
                                 .frames = frames_of(log, stack, depth),
                                 .youngest_ns = at};
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = mt_out_need(open_memstream(&text, &bytes));
    if (site.frames == 0) fputs(" - (no stack)\n\n", to);
    else mt_report_stack(&view, &site, &log->options->show, to);
    fclose(to);
    mt_out_put(log->out, mt_out_need(text), bytes);
    free(text);
}

static void string(mt_out *to, const char *key, const char *value) {
    mt_out_str(to, key);
    mt_out_json(to, value ? value : "");
    mt_out_str(to, "\"");
}

static void frame_full(mt_out *to, uint64_t address, const mt_names_place *place,
                       const mt_names_frame *f) {
    mt_out_str(to, "{\"address\":\"");
    mt_out_hex(to, address);
    mt_out_str(to, "\"");
    if (f->function) string(to, ",\"function\":\"", f->function);
    if (f->function && !f->inlined) {
        mt_out_str(to, ",\"offset\":");
        mt_out_number(to, f->offset);
    }
    if (place->object) {
        string(to, ",\"object\":\"", place->object);
        mt_out_str(to, ",\"in_file\":\"");
        mt_out_hex(to, place->in_file);
        mt_out_str(to, "\"");
    }
    if (f->file) {
        string(to, ",\"file\":\"", f->file);
        mt_out_str(to, ",\"line\":");
        mt_out_number(to, f->line);
    }
    mt_out_str(to, f->inlined ? ",\"inlined\":true}" : "}");
}

/* A function without a name is its object and place there, or its address. */
void mt_logged_frame_short(mt_out *to, uint64_t address, const mt_names_place *place,
                           const mt_names_frame *f) {
    mt_out_str(to, "{\"f\":\"");
    if (f->function) mt_out_json(to, f->function);
    else if (place->object) {
        mt_out_json(to, mt_view_last_name(place->object));
        mt_out_str(to, "+");
        mt_out_hex(to, place->in_file);
    } else mt_out_hex(to, address);
    string(to, "\",\"s\":\"", f->file);
    mt_out_str(to, ",\"l\":");
    mt_out_number(to, f->line);
    mt_out_str(to, "}");
}

void mt_logged_frames_json(const mt_logged *log, mt_out *to, uint32_t stack, uint64_t at,
                           uint32_t depth, bool full) {
    const uint64_t *address = mt_logged_stacks_addresses(&log->stacks, stack);
    uint32_t frames = frames_of(log, stack, depth);
    mt_out_str(to, "[");
    for (uint32_t i = 0; i < frames; i++) {
        const mt_names_place *place = mt_names_find(log->names, address[i], at);
        uint32_t first = mt_view_is_hook(place, i) ? place->frames - 1 : 0;
        for (uint32_t f = first; f < place->frames; f++) {
            if (i || f > first) mt_out_str(to, ",");
            (full ? frame_full : mt_logged_frame_short)(to, address[i], place,
                                                        &place->frame[f]);
        }
    }
    mt_out_str(to, "]");
}

static void caller(mt_out *to, uint64_t address, const mt_names_place *place, bool comparable) {
    const char *object = place->object ? place->object : "(unknown)";
    const mt_names_frame *f = &place->frame[place->frames - 1];
    mt_out_plain(to, comparable ? mt_view_last_name(object) : object);
    mt_out_str(to, "::");
    if (f->function) mt_out_plain(to, f->function);
    else if (place->object) mt_out_print(to, "+0x%llx", (unsigned long long)place->in_file);
    else if (comparable) mt_out_str(to, "(unknown)");
    else mt_out_hex(to, address);
}

void mt_logged_frames_callers(const mt_logged *log, mt_out *to, uint32_t stack, uint64_t at,
                              uint32_t depth, bool comparable) {
    const uint64_t *address = mt_logged_stacks_addresses(&log->stacks, stack);
    uint32_t frames = frames_of(log, stack, depth ? depth + 1 : 0);
    if (frames < 2) mt_out_str(to, "(unknown)::(unknown)");
    for (uint32_t i = 1; i < frames; i++) {
        if (i > 1) mt_out_str(to, " < ");
        caller(to, address[i], mt_names_find(log->names, address[i], at), comparable);
    }
}

const char *mt_logged_frames_called(const mt_logged *log, uint32_t stack, uint64_t at,
                                    mt_log_op op) {
    static const char *const family[] = {
        "malloc",        "calloc",   "realloc", "reallocarray", "posix_memalign",
        "aligned_alloc", "memalign", "valloc",  "pvalloc",      "strdup",
        "strndup",       "free",     "cfree",   "free_sized",   "free_aligned_sized"};
    const char *function = NULL;
    if (log->stacks.stack[stack].frames) {
        uint64_t hook = *mt_logged_stacks_addresses(&log->stacks, stack);
        const mt_names_place *place = mt_names_find(log->names, hook, at);
        function = place->frame[place->frames - 1].function;
    }
    for (size_t i = 0; function && i < sizeof family / sizeof *family; i++)
        if (strcmp(family[i], function) == 0) return family[i];
    if (op == MT_LOG_FREE) return "free";
    return op == MT_LOG_ALLOC ? "malloc" : "realloc";
}
