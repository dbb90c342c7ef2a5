/* The address of malloc is that of a stub in the program. */
#include <string.h>

#include "traced.h"

int main(void) {
    void *(*volatile f)(size_t) = malloc;
    void *p = f(100);
    CHECK(traced_find(p, NULL) == 1);
    static mt_record records[16];
    CHECK(traced_core()->oldest(records, 1) == 1);
    Dl_info info; /* the first frame is the hook, not the stub */
    CHECK(dladdr((void *)(records[0].stack[0] - 1), &info) && strstr(info.dli_fname, "mtrace"));
    free(p);
    puts("not_pie: well");
    return 0;
}
