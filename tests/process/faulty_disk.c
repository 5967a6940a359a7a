/* I/O fault injection by LD_PRELOAD: while the file named by FAULTY_DISK exists, the call that it contains
 * ("fsync" or "write") fails with EIO on files named *.db-wal; with "stall", each fsync of them waits. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd, const char *call) {
    const char *path = getenv("FAULTY_DISK");
    char link[64], name[4096], fault[16] = "";
    if (path == NULL) return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = read(file, fault, sizeof fault - 1);
    close(file);
    if (length <= 0 || strncmp(fault, call, strlen(call)) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, name, sizeof name - 1);
    if (length < 7) return 0;
    name[length] = '\0';
    return strcmp(name + length - 7, ".db-wal") == 0;
}

int fsync(int fd) {
    static int (*real)(int);
    if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (fails(fd, "fsync")) { errno = EIO; return -1; }
    while (fails(fd, "stall")) usleep(10000);
    return real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (fails(fd, "fsync")) { errno = EIO; return -1; }
    while (fails(fd, "stall")) usleep(10000);
    return real(fd);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (real == NULL) real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    if (fails(fd, "write")) { errno = EIO; return -1; }
    return real(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (real == NULL) real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    if (fails(fd, "write")) { errno = EIO; return -1; }
    return real(fd, bytes, count, at);
}
