/* The address of malloc is that of a stub in the program. */
#include "traced.h"

int main(void) {
    void *(*volatile f)(size_t) = malloc;
    void *p = f(100);
    CHECK(traced_find(p, NULL) == 1);
    free(p);
    puts("not_pie: well");
    return 0;
}
