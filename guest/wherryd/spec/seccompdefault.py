"""The seccomp filter of a container that asks for nothing: which system calls it may make, as data.

The rules are those of Docker's default profile (docs.docker.com/engine/security/seccomp), put by what
the calls are for, and in the same form as a user's own profile (spec/seccompprofile.py). One rule is
stricter: `socketcall`, by which a 32-bit program could open the sockets that are kept from it, is ENOSYS;
since Linux 4.3 such programs have calls of their own for each of its parts.
"""

from collections.abc import Mapping
from typing import Any, Final

_FILES: Final = """
access cachestat chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32
fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64
fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat
inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat
listmount listxattr listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 memfd_create
memfd_secret mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64
preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr removexattrat
rename renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64
statmount statx symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat
utime utimensat utimensat_time64 utimes vmsplice write writev
"""
_WAITING: Final = """
epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
eventfd2 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake get_robust_list io_cancel
io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit membarrier _newselect poll
ppoll ppoll_time64 pselect6 pselect6_time64 select set_robust_list
"""
_MEMORY: Final = """
brk madvise map_shadow_stack mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock
munlockall munmap pkey_alloc pkey_free pkey_mprotect remap_file_pages
"""
_PROCESSES: Final = """
capget capset execve execveat exit exit_group fork getcpu getegid getegid32 geteuid geteuid32 getgid getgid32
getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getresgid getresgid32 getresuid getresuid32
getrlimit getrusage getsid gettid getuid getuid32 get_thread_area ioprio_get ioprio_set landlock_add_rule
landlock_create_ruleset landlock_restrict_self pidfd_open prctl prlimit64 process_mrelease rseq
sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
sched_setparam sched_setscheduler sched_yield seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
setgroups setgroups32 setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32
setreuid setreuid32 setrlimit setsid setuid setuid32 set_thread_area set_tid_address ugetrlimit uretprobe
vfork wait4 waitid waitpid
"""
_SIGNALS: Final = """
kill pause pidfd_send_signal restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd
signalfd4 sigprocmask sigreturn tgkill tkill
"""
_TIME: Final = """
adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time times timer_create
timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
"""
_MESSAGES: Final = """
accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr mq_notify mq_open
mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd
recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl semget semop semtimedop semtimedop_time64 send sendmmsg
sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown socketpair
"""
_MACHINE: Final = "getrandom riscv_hwprobe sysinfo uname"

#: Kept back from everybody, and what a capability gives of them.
_BY_CAPABILITY: Final[Mapping[str, str]] = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
        lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl
        quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare
        """,
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module finit_module init_module",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": """
        kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace
        """,
    "CAP_SYS_RAWIO": "ioperm iopl",
    "CAP_SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYSLOG": "syslog",
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
}

_BY_ARCHITECTURE: Final[Mapping[tuple[str, ...], str]] = {
    ("amd64", "x32"): "arch_prctl",
    ("amd64", "x32", "x86"): "modify_ldt",
    ("arm", "arm64"): ("arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2"),
    ("ppc64le",): "swapcontext sync_file_range2",
    ("riscv64",): "riscv_flush_icache",
    ("s390", "s390x"): "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
}

#: A kernel runs programs of these as well.
_COMPATIBLE: Final[Mapping[str, tuple[str, ...]]] = {
    "X86_64": ("X86", "X32"),
    "AARCH64": ("ARM",),
    "S390X": ("S390",),
    "RISCV64": (),
    "LOONGARCH64": (),
}

#: clone(2) without any of: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
_NAMESPACE_FLAGS: Final = 0x7E020000

#: personality(2): PER_LINUX, PER_LINUX32, each with and without UNAME26, and asking for the present one.
_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

#: socket(2): AF_ALG, whose kernel code had CVE-2026-31431, and AF_VSOCK, the hypervisor's own channel.
AF_ALG: Final = 38
AF_VSOCK: Final = 40
#: These two, and what nobody has used for long: DECnet, Econet, ATM SVC, IrDA, Wanpipe, 34, CAIF.
_REFUSED_FAMILIES: Final = frozenset({12, 19, 20, 23, 25, 34, 37, AF_ALG, AF_VSOCK})
_LAST_FAMILY: Final = 45  # AF_MCTP

_EPERM, _ENOSYS = 1, 38


def _allow(names: str, **conditions: Any) -> dict[str, Any]:
    return {"names": names.split(), "action": "SCMP_ACT_ALLOW", **conditions}


def _refuse(names: str, errno: int, **conditions: Any) -> dict[str, Any]:
    return {"names": names.split(), "action": "SCMP_ACT_ERRNO", "errnoRet": errno, **conditions}


def _first(operator: str, value: int, index: int = 0) -> dict[str, Any]:
    """A comparison of one argument; for MASKED_EQ: none of the bits of value is set."""
    return {"args": [{"index": index, "value": value, "valueTwo": 0, "op": f"SCMP_CMP_{operator}"}]}


def _profile() -> dict[str, Any]:
    without_admin = {"caps": ["CAP_SYS_ADMIN"]}
    s390 = ["s390", "s390x"]
    lowest = min(_REFUSED_FAMILIES)
    families = [each for each in range(lowest, _LAST_FAMILY + 1) if each not in _REFUSED_FAMILIES]
    always = (_FILES, _WAITING, _MEMORY, _PROCESSES, _SIGNALS, _TIME, _MESSAGES, _MACHINE)
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "archMap": [
            {"architecture": f"SCMP_ARCH_{native}", "subArchitectures": [f"SCMP_ARCH_{sub}" for sub in subs]}
            for native, subs in _COMPATIBLE.items()
        ],
        "syscalls": [
            _allow(" ".join(always)),
            # Before 4.8 a tracer could undo what seccomp had decided.
            _allow("process_vm_readv process_vm_writev ptrace", includes={"minKernel": "4.8"}),
            _allow("socket", **_first("LT", lowest)),
            *(_allow("socket", **_first("EQ", family)) for family in families),
            _refuse("socketcall", _ENOSYS),
            *(_allow("personality", **_first("EQ", value)) for value in _PERSONALITIES),
            _allow(
                "clone", **_first("MASKED_EQ", _NAMESPACE_FLAGS), excludes={**without_admin, "arches": s390}
            ),
            # There the flags come second.
            _allow(
                "clone",
                **_first("MASKED_EQ", _NAMESPACE_FLAGS, 1),
                includes={"arches": s390},
                excludes=without_admin,
            ),
            # Its flags are behind a pointer, where no filter sees them; libc falls back to clone.
            _refuse("clone3", _ENOSYS, excludes=without_admin),
            *(_allow(names, includes={"caps": [name]}) for name, names in _BY_CAPABILITY.items()),
            *(_allow(names, includes={"arches": list(on)}) for on, names in _BY_ARCHITECTURE.items()),
        ],
    }


PROFILE: Final[Mapping[str, Any]] = _profile()
