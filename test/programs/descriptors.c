/* Closes every descriptor, as daemons do, opens a file of its own, and allocates below a frame
 * without unwind information, where libunwind tests addresses by writing a byte somewhere. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "traced.h"

#if defined __x86_64__ /* push rbp; mov rbp,rsp; call *rdi; pop rbp; ret */
static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
#elif defined __aarch64__
/* stp x29,x30,[sp,-16]!; mov x29,sp; blr x0; ldp x29,x30,[sp],16; ret */
static const unsigned char code[] = {0xfd, 0x7b, 0xbf, 0xa9, 0xfd, 0x03, 0x00,
                                     0x91, 0x00, 0x00, 0x3f, 0xd6, 0xfd, 0x7b,
                                     0xc1, 0xa8, 0xc0, 0x03, 0x5f, 0xd6};
#else
static const unsigned char code[1];
#endif

static void allocate(void) {
    void *volatile p;
    for (int i = 0; i < 100; i++) {
        p = malloc(100);
        CHECK(p);
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    void (*jitted)(void (*)(void)) = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy((void *)jitted, code, sizeof code);
    __builtin___clear_cache((char *)jitted, (char *)jitted + sizeof code);
    CHECK(traced_core()); /* says if it is not preloaded, while there is a stderr */
    for (int fd = 0; fd < 64; fd++) close(fd);
    for (int fd = 0; fd < 16; fd++)
        if (open(argv[1], O_RDWR | O_CREAT, 0600) != fd) return 2;
    if (sizeof code > 1) jitted(allocate);
    allocate();
    struct stat st;
    if (fstat(0, &st) != 0 || st.st_size != 0) return 3; /* something wrote */
    if (open("/dev/null", O_RDONLY) != 16) return 4;     /* something opened */
    return traced_count(MT_COUNT_recorded) >= 200 ? 0 : 5;
}
