/* The floor of a cold start: the same isolation, with nothing in it, in C.
 *
 * One process is the spawner. For each byte that it reads it clones a child with namespaces of
 * its own (mount, pid, ipc, uts, cgroup), which enters its cgroups, joins a network namespace made
 * ahead, gets /tmp, code and /proc in a private root, gives up its user, takes a system call
 * filter and writes one byte. The spawner prints the nanoseconds from before the clone until the
 * byte was there.
 *
 * It is no launcher: what a clone needs to be safe against is left out as long as it costs nothing.
 *
 * usage: floor FILTER ROOT CODE v1|v2 DESCRIPTOR...
 *   FILTER      an array of struct sock_filter
 *   ROOT        an empty directory, for the root of the children
 *   CODE        what they see at /var/task
 *   DESCRIPTOR  of each hierarchy's "tasks", or of the cgroup's directory
 *
 * See clone3(2), pivot_root(2), mount_namespaces(7), cgroups(7), seccomp(2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NETWORKS = 8, GROUPS_MAX = 8, INSTRUCTIONS_MAX = 4096, USER = 65534 };

static const char *const SYSTEM[] = {"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/opt"};
static const char *const EMPTY[] = {"/tmp", "/proc", "/var", "/var/task"};

static struct sock_filter instructions[INSTRUCTIONS_MAX];
static struct sock_fprog filter = {.filter = instructions};
static int networks[NETWORKS], groups[GROUPS_MAX], group_count, is_v2;
static const char *root, *code;

static long must(long result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "cannot measure the floor: %s: %s\n", what, strerror(errno));
        _exit(1);
    }
    return result;
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static const char *inside(const char *path) {
    static char joined[PATH_MAX];
    snprintf(joined, sizeof joined, "%s%s", root, path);
    return joined;
}

static void bind_read_only(const char *source, const char *target) {
    must(mount(source, target, NULL, MS_BIND, NULL), "bind");
    unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV;
    must(mount(NULL, target, NULL, flags, NULL), "make read-only");
}

static void read_filter(const char *path) {
    int file = (int)must(open(path, O_RDONLY | O_CLOEXEC), path);
    long size = must(read(file, instructions, sizeof instructions), path);
    filter.len = (unsigned short)(size / (long)sizeof *instructions);
    close(file);
}

static void make_networks(void) {
    int own = (int)must(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "own network");
    for (int i = 0; i < NETWORKS; i++) {
        must(unshare(CLONE_NEWNET), "new network");
        networks[i] = (int)must(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "new network");
    }
    must(setns(own, CLONE_NEWNET), "return to own network");
    close(own);
}

/* What all children share is mounted once: the fewer mounts, the cheaper the clone. */
static void make_root(void) {
    must(unshare(CLONE_NEWNS), "new mount namespace");
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make private");
    must(mount("root", root, "tmpfs", 0, "size=1m,mode=755"), "root");
    for (unsigned i = 0; i < sizeof SYSTEM / sizeof *SYSTEM; i++) {
        struct stat status;
        if (lstat(SYSTEM[i], &status) || !S_ISDIR(status.st_mode)) continue;
        must(mkdir(inside(SYSTEM[i]), 0755), SYSTEM[i]);
        bind_read_only(SYSTEM[i], inside(SYSTEM[i]));
    }
    for (unsigned i = 0; i < sizeof EMPTY / sizeof *EMPTY; i++)
        must(mkdir(inside(EMPTY[i]), 0755), EMPTY[i]);
}

static void confine(void) {
    struct rlimit files = {1024, 1024};
    must(setrlimit(RLIMIT_NOFILE, &files), "limit files");
    must(setgroups(0, NULL), "leave groups");
    must(setresgid(USER, USER, USER), "leave the group");
    must(setresuid(USER, USER, USER), "leave the user");
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter), "filter");
}

static void child(int network, int answer) {
    for (int i = 0; !is_v2 && i < group_count; i++) must(write(groups[i], "0", 1), "enter cgroup");
    must(setns(network, CLONE_NEWNET), "join network");
    unsigned long safe = MS_NOSUID | MS_NODEV;
    must(mount("tmp", inside("/tmp"), "tmpfs", safe, "size=512m"), "/tmp");
    bind_read_only(code, inside("/var/task"));
    must(mount("proc", inside("/proc"), "proc", safe | MS_NOEXEC, NULL), "/proc");
    must(chdir(root), "root");
    must(syscall(SYS_pivot_root, ".", "."), "change root");
    must(umount2(".", MNT_DETACH), "let go of the old root");
    must(chdir("/"), "root");
    must(sethostname("localhost", 9), "host name");
    confine();
    must(write(answer, "x", 1), "answer");
    _exit(0);
}

static uint64_t start_ns(int network) {
    int answer[2];
    char byte;
    must(pipe2(answer, O_CLOEXEC), "pipe");
    struct clone_args wanted = {
        .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP,
        .exit_signal = SIGCHLD,
    };
    if (is_v2) {
        wanted.flags |= CLONE_INTO_CGROUP;
        wanted.cgroup = (uint64_t)groups[0];
    }
    uint64_t since_ns = now_ns();
    long pid = must(syscall(SYS_clone3, &wanted, sizeof wanted), "clone");
    if (!pid) child(network, answer[1]);
    close(answer[1]);
    long got = read(answer[0], &byte, 1);
    uint64_t took_ns = now_ns() - since_ns;
    must(waitpid((pid_t)pid, NULL, 0), "wait");
    close(answer[0]);
    if (got != 1) _exit(1); /* The child has said why. */
    return took_ns;
}

int main(int count, char **words) {
    if (count < 6 || count > 5 + GROUPS_MAX) return 2;
    read_filter(words[1]);
    root = words[2], code = words[3], is_v2 = !strcmp(words[4], "v2");
    for (int i = 5; i < count; i++) {
        groups[group_count] = atoi(words[i]);
        must(fcntl(groups[group_count++], F_SETFD, FD_CLOEXEC), "descriptor");
    }
    make_networks();
    make_root();
    char byte;
    for (unsigned i = 0; read(STDIN_FILENO, &byte, 1) == 1; i++) {
        printf("%llu\n", (unsigned long long)start_ns(networks[i % NETWORKS]));
        fflush(stdout);
    }
    return 0;
}
