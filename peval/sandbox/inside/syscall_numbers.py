"""Numbers of the system calls that the filter names, by architecture.

From the kernel's ``asm/unistd_64.h`` and ``asm-generic/unistd.h``.
"""

_TABLES = {
    "x86_64": """
        read=0 write=1 close=3 fstat=5 stat=4 lstat=6 newfstatat=262 statx=332 lseek=8 mmap=9
        mprotect=10 munmap=11 brk=12 mremap=25 madvise=28 msync=26 mincore=27 poll=7 ppoll=271
        select=23 pselect6=270 pread64=17 pwrite64=18 readv=19 writev=20 access=21 faccessat=269
        faccessat2=439 pipe=22 pipe2=293 dup=32 dup2=33 dup3=292 sched_yield=24 pause=34
        nanosleep=35 clock_nanosleep=230 clock_gettime=228 clock_getres=229 gettimeofday=96
        time=201 times=100 getitimer=36 setitimer=38 alarm=37 getpid=39 getppid=110 gettid=186
        getuid=102 geteuid=107 getgid=104 getegid=108 getresuid=118 getresgid=120 getgroups=115
        getpgrp=111 getpgid=121 getsid=124 uname=63 fsync=74 fdatasync=75 ftruncate=77 getcwd=79
        chdir=80 fchdir=81 rename=82 renameat=264 renameat2=316 mkdir=83 mkdirat=258 rmdir=84
        creat=85 link=86 linkat=265 unlink=87 unlinkat=263 symlink=88 symlinkat=266 readlink=89
        readlinkat=267 umask=95 getrlimit=97 getrusage=98 sysinfo=99 sigaltstack=131 statfs=137
        fstatfs=138 arch_prctl=158 futex=202 set_tid_address=218 set_robust_list=273
        restart_syscall=219 rseq=334 membarrier=324 sched_getaffinity=204 getcpu=309
        epoll_create=213 epoll_create1=291 epoll_ctl=233 epoll_wait=232 epoll_pwait=281
        eventfd=284 eventfd2=290 exit=60 exit_group=231 open=2 openat=257 getdents64=217
        rt_sigaction=13 rt_sigprocmask=14 rt_sigreturn=15 rt_sigpending=127 rt_sigsuspend=130
        rt_sigtimedwait=128 getrandom=318 sendfile=40 copy_file_range=326 flock=73
        fadvise64=221 sendto=44 recvfrom=45 shutdown=48 getsockopt=55 getsockname=51
        getpeername=52 close_range=436 preadv=295 pwritev=296 clone3=435 openat2=437
        futex_waitv=449 clone=56 kill=62 tgkill=234 prlimit64=302 fcntl=72 ioctl=16 prctl=157
        socketpair=53 recvmsg=47
    """,
    "aarch64": """
        read=63 write=64 close=57 fstat=80 newfstatat=79 statx=291 lseek=62 mmap=222
        mprotect=226 munmap=215 brk=214 mremap=216 madvise=233 msync=227 mincore=232 ppoll=73
        pselect6=72 pread64=67 pwrite64=68 readv=65 writev=66 faccessat=48 faccessat2=439
        pipe2=59 dup=23 dup3=24 sched_yield=124 nanosleep=101 clock_nanosleep=115
        clock_gettime=113 clock_getres=114 gettimeofday=169 times=153 getitimer=102
        setitimer=103 getpid=172 getppid=173 gettid=178 getuid=174 geteuid=175 getgid=176
        getegid=177 getresuid=148 getresgid=150 getgroups=158 getpgid=155 getsid=156 uname=160
        fsync=82 fdatasync=83 ftruncate=46 getcwd=17 chdir=49 fchdir=50 renameat=38
        renameat2=276 mkdirat=34 linkat=37 unlinkat=35 symlinkat=36 readlinkat=78 umask=166
        getrlimit=163 getrusage=165 sysinfo=179 sigaltstack=132 statfs=43 fstatfs=44 futex=98
        set_tid_address=96 set_robust_list=99 restart_syscall=128 rseq=293 membarrier=283
        sched_getaffinity=123 getcpu=168 epoll_create1=20 epoll_ctl=21 epoll_pwait=22
        eventfd2=19 exit=93 exit_group=94 openat=56 getdents64=61 rt_sigaction=134
        rt_sigprocmask=135 rt_sigreturn=139 rt_sigpending=136 rt_sigsuspend=133
        rt_sigtimedwait=137 getrandom=278 sendfile=71 copy_file_range=285 flock=32
        fadvise64=223 sendto=206 recvfrom=207 shutdown=210 getsockopt=209 getsockname=204
        getpeername=205 close_range=436 preadv=69 pwritev=70 clone3=435 openat2=437
        futex_waitv=449 clone=220 kill=129 tgkill=131 prlimit64=261 fcntl=25 ioctl=29 prctl=167
        socketpair=199 recvmsg=212
    """,
}

NUMBERS: dict[str, dict[str, int]] = {
    machine: {name: int(number) for name, number in (pair.split("=") for pair in table.split())}
    for machine, table in _TABLES.items()
}
