/* show: see the header. What an earlier run saved is read before anything is written: it may be
 * the same file. */
#include "show.h"

#include <errno.h>
#include <string.h>

#include "ctl/bytes.h"
#include "collapsed.h"
#include "ctl/commands.h"
#include "diff.h"
#include "pprof.h"
#include "report.h"
#include "saved.h"
#include "view.h"

static uint32_t collapsed_top(const mt_show *show) {
    return show->top_given ? show->top : 0;
}

static int write_files(mt_view *view, const mt_show *show) {
    int failed = 0;
    mt_view_sort(view, show->sort[0]);
    if (show->collapsed_path) {
        mt_bytes lines = {0};
        mt_collapsed_write(view, collapsed_top(show), &lines);
        failed |= mt_bytes_write(&lines, show->collapsed_path);
        mt_bytes_free(&lines);
    }
    if (show->pprof_path) failed |= mt_pprof_write(view, show->pprof_path);
    if (show->save_path) failed |= mt_saved_write(view, show->save_path);
    return failed;
}

static void write_collapsed(mt_view *view, const mt_show *show, FILE *out) {
    mt_bytes lines = {0};
    mt_view_sort(view, show->sort[0]);
    mt_collapsed_write(view, collapsed_top(show), &lines);
    if (lines.failed) mt_say("there is not enough memory for all stacks");
    if (lines.n) fwrite(lines.data, 1, lines.n, out);
    mt_bytes_free(&lines);
}

static mt_shown compare(mt_view *view, const mt_saved *earlier, const mt_show *show,
                        FILE *out) {
    mt_view before;
    mt_shown shown = MT_SHOWN_FAILED;
    if (mt_view_open(&before, &earlier->census, earlier, show) == 0)
        shown = mt_diff_write(&before, view, show->diff_path, show, out);
    mt_view_close(&before);
    return shown;
}

static mt_shown write_text(mt_view *view, const mt_saved *earlier, const mt_show *show,
                           FILE *out) {
    mt_shown shown = view->sites ? MT_SHOWN_LEFT : MT_SHOWN_NOTHING;
    if (earlier) shown = compare(view, earlier, show, out);
    else if (show->flame_graph) write_collapsed(view, show, out);
    else if (view->sites) mt_report_write(view, show, out);
    errno = 0;
    if (fflush(out) == 0 && !ferror(out)) return shown;
    mt_say("the report cannot be written: %s", strerror(errno ? errno : EIO));
    return MT_SHOWN_FAILED;
}

static mt_shown show_any(const mt_census *census, const mt_saved *saved, const mt_show *show,
                         FILE *out) {
    mt_view view;
    mt_shown shown = MT_SHOWN_FAILED;
    mt_saved *earlier = show->diff_path ? mt_saved_read(show->diff_path) : NULL;
    if (show->diff_path && !earlier) return MT_SHOWN_FAILED;
    if (mt_view_open(&view, census, saved, show) == 0) {
        shown = write_text(&view, earlier, show, out);
        if (write_files(&view, show) != 0) shown = MT_SHOWN_FAILED;
    }
    mt_view_close(&view);
    mt_saved_free(earlier);
    return shown;
}

mt_shown mt_show_census(const mt_census *census, const mt_show *show, FILE *out) {
    return show_any(census, NULL, show, out);
}

static int usage(void) {
    fputs("usage: mtracectl show [OPTIONS] FILE\n\n"
          "Shows what run --save FILE or report --save FILE kept, with the names that its\n"
          "addresses had then; with --libraries with those that are found there.\n\n",
          stdout);
    fputs(mt_show_help, stdout);
    return 0;
}

int mt_command_show(int argc, char **argv) {
    mt_show show = MT_SHOW_DEFAULT;
    const char *path = NULL;
    bool options = true;
    for (int i = 1; i < argc; i++) {
        int words = options ? mt_show_option(&show, argc - i, argv + i) : 0;
        if (words < 0) return MT_EXIT_USAGE;
        if (words > 0) {
            i += words - 1;
            continue;
        }
        if (options && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0))
            return usage();
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
            continue;
        }
        if ((options && argv[i][0] == '-') || path) {
            mt_say("%s %s: mtracectl show --help tells what there is",
                   path ? "one file at a time, not" : "there is no option", argv[i]);
            return MT_EXIT_USAGE;
        }
        path = argv[i];
    }
    if (!path) {
        mt_say("which file? mtracectl show [OPTIONS] FILE");
        return MT_EXIT_USAGE;
    }
    mt_saved *saved = mt_saved_read(path);
    if (!saved) return MT_EXIT_FAILED;
    /* With folders the addresses are named anew, from the files there. */
    const mt_saved *named = show.folders ? NULL : saved;
    mt_shown shown = show_any(&saved->census, named, &show, stdout);
    mt_saved_free(saved);
    return shown == MT_SHOWN_FAILED ? MT_EXIT_FAILED : 0;
}
