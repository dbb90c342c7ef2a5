/* log_csv: --csv, every event a row; and --sql, the table that they fit into. */
#include <stdlib.h>
#include <string.h>

#include "ctl/commands.h"
#include "frames.h"
#include "rows.h"

void mt_logged_rows_open(mt_logged_rows *rows, mt_logged *log) {
    rows->log = log;
    rows->stack = mt_out_need(calloc(log->stacks.count, sizeof *rows->stack));
}

void mt_logged_rows_close(mt_logged_rows *rows) {
    for (uint32_t i = 0; i < rows->log->stacks.count; i++) free(rows->stack[i].text);
    free(rows->stack);
}

static struct mt_logged_row_text *text_of(mt_logged_rows *rows, const mt_logged_event *e) {
    struct mt_logged_row_text *text = &rows->stack[e->stack];
    if (text->text) return text;
    mt_logged *log = rows->log;
    mt_out json, field;
    mt_out_open(&json, -1);
    mt_out_open(&field, -1);
    mt_logged_frames_json(log, &json, e->stack, e->time, log->options->depth, false);
    mt_out_put(&json, "", 1);
    mt_out_quoted(&field, json.bytes);
    mt_out_put(&field, "\n", 1);
    mt_out_close(&json);
    text->text = field.bytes;
    text->bytes = (uint32_t)field.used;
    text->called[0] = mt_logged_frames_called(log, e->stack, e->time, MT_LOG_ALLOC);
    text->called[1] = mt_logged_frames_called(log, e->stack, e->time, MT_LOG_FREE);
    return text;
}

/* realloc may be called as reallocarray; a stack of it that no name is known of says malloc. */
static const char *called(const struct mt_logged_row_text *text, mt_log_op op) {
    switch (op) {
    case MT_LOG_FREE:
        return text->called[1];
    case MT_LOG_REALLOC_FROM:
        return "freerealloc";
    case MT_LOG_REALLOC_TO:
        return strcmp(text->called[0], "reallocarray") == 0 ? "reallocarray" : "realloc";
    default:
        return text->called[0];
    }
}

void mt_logged_row(mt_logged_rows *rows, const mt_logged_event *e) {
    mt_logged *log = rows->log;
    mt_out *out = log->out;
    const struct mt_logged_row_text *text = text_of(rows, e);
    mt_out_str(out, "\"");
    mt_out_str(out, called(text, e->op));
    mt_out_str(out, "\";");
    mt_out_number(out, log->stacks.thread[e->thread].tid);
    mt_out_str(out, ";");
    mt_out_number(out, e->address);
    mt_out_str(out, ";");
    mt_out_number(out, e->size);
    mt_out_str(out, ";");
    mt_out_number(out, mt_logged_file_wall(&log->file, &log->stacks, e->time) / 1000000);
    mt_out_str(out, ";");
    mt_out_put(out, text->text, text->bytes);
}

int mt_logged_csv(mt_logged *log) {
    mt_logged_event events[256];
    mt_logged_merge merge;
    mt_logged_rows rows;
    mt_logged_merge_open(&merge, &log->file, &log->stacks);
    mt_logged_rows_open(&rows, log);
    for (uint32_t n; (n = mt_logged_merge_next(&merge, events, 256));)
        for (uint32_t i = 0; i < n; i++)
            if (events[i].op != MT_LOG_REALLOC_FAILED &&
                (!log->counts || log->counts[events[i].thread]))
                mt_logged_row(&rows, &events[i]);
    log->events = merge.events;
    log->before_damage = merge.before_damage;
    mt_logged_rows_close(&rows);
    mt_logged_merge_close(&merge);
    return 0;
}

void mt_logged_sql(mt_out *out) {
    mt_out_str(
        out,
        "-- For what mtracectl log FILE --csv > malloc_trace.csv has written, in sqlite3:\n"
        "--   mtracectl log --sql | sqlite3 malloc_trace.db\n"
        "CREATE TABLE IF NOT EXISTS malloc_trace (\n"
        "  function TEXT NOT NULL,\n"
        "  thread INTEGER,\n"
        "  address INTEGER,\n"
        "  size INTEGER,\n"
        "  ms INTEGER,\n"
        "  stack TEXT -- JSON: [{\"f\": function, \"s\": source file, \"l\": line}, ...]\n"
        ");\n"
        ".separator \";\"\n"
        ".import malloc_trace.csv malloc_trace\n");
}
