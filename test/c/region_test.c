/* The memory that tables lie in, private and shared. Sharing is once a process: each such test
 * runs in a child. */
#include "unit.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/watch/find.h"
#include "ctl/watch/socket.h"
#include "ctl/watch/target.h"
#include "record/chunks.h"
#include "record/region.h"
#include "record/sites.h"

static int in_child(void (*f)(void)) {
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        f();
        _exit(0);
    }
    waitpid(child, &status, 0);
    return status;
}

/* In a child a failed assertion is an exit. */
#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            printf("   %s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                  \
            fflush(stdout);                                                                    \
            _exit(1);                                                                          \
        }                                                                                      \
    } while (0)

static void private_memory_is_zeroed_and_given_back(void **state) {
    (void)state;
    assert_null(mt_region_shared());
    char *p = mt_region_take(MT_REGION_CHUNKS, 100000, 1, 2);
    assert_non_null(p);
    for (int i = 0; i < 100000; i++) assert_int_equal(p[i], 0);
    mt_region_return(p, 100000);
}

static mt_region_header *map_again(int fd) {
    struct stat s;
    CHECK(fstat(fd, &s) == 0);
    void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_SHARED, fd, 0);
    CHECK(p != MAP_FAILED);
    return p;
}

static void share_and_list(void) {
    int fd = mt_region_share(4096);
    CHECK(fd >= 0);
    CHECK(mt_region_share(4096) == -1); /* once */
    char name[64] = "", path[64], expected[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    snprintf(expected, sizeof expected, "/memfd:mtrace.%d (deleted)", (int)getpid());
    CHECK(readlink(path, name, sizeof name - 1) > 0 && strcmp(name, expected) == 0);
    char *a = mt_region_take(MT_REGION_CHUNKS, 1000, 7, 8);
    char *b = mt_region_take(MT_REGION_SITES, 200000, 9, 10);
    CHECK(a && b && (uintptr_t)a % 64 == 0 && (b >= a + 1000 || a >= b + 200000));
    strcpy(a, "seen from outside");
    const mt_region_header *h = map_again(fd);
    CHECK(h->magic == MT_REGION_MAGIC && h->version == MT_REGION_VERSION);
    CHECK(h->pid == (uint32_t)getpid() && h->start_ns > 0 && h->command[0]);
    CHECK(h->slots == 4096 && h->parts == 2);
    CHECK(h->entry[0].kind == MT_REGION_CHUNKS && h->entry[0].a == 7 && h->entry[0].b == 8);
    CHECK(h->entry[1].kind == MT_REGION_SITES && h->entry[1].bytes == 200000);
    CHECK(strcmp((const char *)h + h->entry[0].offset, "seen from outside") == 0);
    mt_region_return(a, 1000);
    CHECK(h->entry[0].kind == 0 && h->entry[1].kind == MT_REGION_SITES);
}

/* The tables of a core dump would be read whole, a gigabyte of holes. */
static bool is_left_out_of_dumps(const void *memory) {
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long lo, hi;
    bool here = false, left_out = false;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2)
            here = lo <= (uintptr_t)memory && (uintptr_t)memory < hi;
        if (here && strncmp(line, "VmFlags:", 8) == 0) left_out |= strstr(line, " dd ") != NULL;
    }
    fclose(f);
    return left_out;
}

static void share_for_good(void) {
    int fd = mt_region_share(4096);
    CHECK(fd >= 0 && ftruncate(fd, 0) == -1 && ftruncate(fd, 1 << 30) == -1);
    CHECK(is_left_out_of_dumps(mt_region_shared()));
}

static void its_size_stays_and_a_core_dump_leaves_it_out(void **state) {
    (void)state;
    assert_int_equal(in_child(share_for_good), 0);
}

/* Who sent it could cut it off while it is read, which ends the reader. */
static void open_cut(void) {
    mt_target target;
    int fd = mt_region_share(4096), other = memfd_create("mtrace.1", MFD_CLOEXEC);
    struct stat s;
    CHECK(fstat(fd, &s) == 0 && ftruncate(other, s.st_size) == 0);
    CHECK(pwrite(other, mt_region_shared(), MT_REGION_HEADER, 0) == MT_REGION_HEADER);
    CHECK(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) == STDERR_FILENO);
    CHECK(mt_target_open(&target, fd, getpid()));
    mt_target_close(&target);
    CHECK(!mt_target_open(&target, other, getpid()));
}

static void memory_that_may_be_cut_off_is_not_read(void **state) {
    (void)state;
    assert_int_equal(in_child(open_cut), 0);
}

/* Anybody may call his memory what he likes. */
static void memory_that_another_user_has_named_so_is_not_found(void **state) {
    (void)state;
    int ready[2];
    char name[32], byte;
    if (geteuid() != 0) skip();
    assert_int_equal(pipe(ready), 0);
    snprintf(name, sizeof name, "mtrace.%d", (int)getpid());
    pid_t stranger = fork();
    if (stranger == 0) {
        if (setuid(65534) != 0 || memfd_create(name, 0) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;) pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(mt_find_tables(getpid()), -1);
    kill(stranger, SIGKILL);
    waitpid(stranger, NULL, 0);
    int own = memfd_create(name, 0);
    assert_int_equal(ftruncate(own, 4096), 0);
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, own, 0);
    int found = mt_find_tables(getpid());
    assert_true(found >= 0);
    munmap(mapped, 4096);
    close(found);
    close(own);
    close(ready[0]);
}

/* In a container it calls itself something else, and its tables after that. */
static void in_container(void) {
    int ready[2];
    char byte;
    if (unshare(CLONE_NEWPID) != 0) _exit(2); /* not root */
    CHECK(pipe(ready) == 0);
    pid_t inside = fork();
    if (inside == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getpid() == 1 && mt_region_share(4096) >= 0 && write(ready[1], "", 1) == 1) pause();
        _exit(1);
    }
    close(ready[1]);
    bool shared = read(ready[0], &byte, 1) == 1;
    int fd = mt_find_tables(inside);
    kill(inside, SIGKILL);
    waitpid(inside, NULL, 0);
    CHECK(shared && fd >= 0);
}

static void tables_are_found_of_a_process_in_a_container(void **state) {
    (void)state;
    int status = in_child(in_container);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) skip();
    assert_int_equal(status, 0);
}

static int descriptors(void) {
    int n = 0;
    for (int fd = 0; fd < 1024; fd++) n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* Two descriptors fit where room was made for one. */
static void descriptors_that_are_not_wanted_do_not_stay(void **state) {
    (void)state;
    mt_socket s;
    pid_t pid;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char byte = 0, room[CMSG_SPACE(2 * sizeof(int))] = {0};
    struct iovec data = {&byte, 1};
    struct msghdr m = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    assert_int_equal(mt_socket_listen(&s), 0);
    memcpy(address.sun_path + 1, s.name, strlen(s.name));
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0), both[2] = {0, 0}, before = descriptors();
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof both);
    memcpy(CMSG_DATA(c), both, sizeof both);
    socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(s.name));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, n), 0);
    assert_int_equal(sendmsg(fd, &m, 0), 1);
    assert_int_equal(mt_socket_take(&s, &pid), -1);
    assert_int_equal(descriptors(), before);
    close(fd);
    mt_socket_close(&s);
}

static void what_is_taken_is_listed_and_seen_from_outside(void **state) {
    (void)state;
    assert_int_equal(in_child(share_and_list), 0);
}

static void share_little(void) {
    struct rlimit limit = {256 << 20, 256 << 20};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    int fd = mt_region_share(1 << 20);
    CHECK(fd >= 0);
    mt_region_header *h = mt_region_shared();
    CHECK(h->slots < 1 << 20 && h->slots_asked == 1 << 20 && h->bytes <= 32 << 20);
    mt_chunks table;
    mt_sites sites;
    CHECK(mt_chunks_init(&table, (uint32_t)h->slots) == 0);
    CHECK(mt_sites_init(&sites, (uint32_t)h->slots, 16) == 0);
}

static void where_less_may_be_mapped_there_are_fewer_slots(void **state) {
    (void)state;
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
    skip(); /* they have mapped terabytes */
#endif
    assert_int_equal(in_child(share_little), 0);
}

static void share_with_small_files(void) {
    struct rlimit limit = {4096, RLIM_INFINITY}, after;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(mt_region_share(4096) >= 0);
    CHECK(getrlimit(RLIMIT_FSIZE, &after) == 0 && after.rlim_cur == 4096);
    mt_region_shared()->command[100] = 'x'; /* no signal */
}

static void the_largest_size_of_files_is_raised_for_a_moment(void **state) {
    (void)state;
    assert_int_equal(in_child(share_with_small_files), 0);
}

static void share_without_files(void) {
    struct rlimit limit = {4096, 4096};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(mt_region_share(4096) == -1);
    CHECK(mt_region_shared() == NULL);
    CHECK(mt_region_take(MT_REGION_CHUNKS, 1000, 0, 0) != NULL);
}

static void where_nothing_can_be_shared_memory_stays_private(void **state) {
    (void)state;
    assert_int_equal(in_child(share_without_files), 0);
}

static void use_up(void) {
    CHECK(mt_region_share(1024) >= 0);
    const mt_region_header *h = mt_region_shared();
    int n = 0;
    while (mt_region_take(MT_REGION_SEEN, 1 << 20, 0, 0)) n++;
    CHECK(n > 0 && h->used <= h->bytes);
    char *thread = mt_region_take(MT_REGION_THREADS, 1 << 20, 0, 0);
    CHECK(thread && (thread < (const char *)h || thread >= (const char *)h + h->bytes));
}

static void where_it_is_used_up_threads_get_memory_all_the_same(void **state) {
    (void)state;
    assert_int_equal(in_child(use_up), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(private_memory_is_zeroed_and_given_back),
        cmocka_unit_test(its_size_stays_and_a_core_dump_leaves_it_out),
        cmocka_unit_test(memory_that_may_be_cut_off_is_not_read),
        cmocka_unit_test(memory_that_another_user_has_named_so_is_not_found),
        cmocka_unit_test(tables_are_found_of_a_process_in_a_container),
        cmocka_unit_test(descriptors_that_are_not_wanted_do_not_stay),
        cmocka_unit_test(what_is_taken_is_listed_and_seen_from_outside),
        cmocka_unit_test(where_less_may_be_mapped_there_are_fewer_slots),
        cmocka_unit_test(the_largest_size_of_files_is_raised_for_a_moment),
        cmocka_unit_test(where_nothing_can_be_shared_memory_stays_private),
        cmocka_unit_test(where_it_is_used_up_threads_get_memory_all_the_same),
    };
    return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
