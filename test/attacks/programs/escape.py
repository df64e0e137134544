# Tries what containers are broken out by, each in a child of its own; what would change something is not done, only asked for the permission.
# Reports each as "allowed" or what refused it.
import ctypes
import errno
import glob
import json
import os
import signal

# Never by mistake on the machine itself, where it would be root.
if os.getcwd() not in ("/workspace", "/attack"):
    raise SystemExit("this runs in pods only")

libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
SYSCALLS = {"x86_64": {"keyctl": 250, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "mount": 165, "kexec_load": 246, "init_module": 175},
            "aarch64": {"keyctl": 219, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "mount": 40, "kexec_load": 104, "init_module": 105}}[os.uname().machine]


def status(field):
    with open("/proc/self/status") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith(field + ":")), "")


def word(result):
    return "allowed" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))


def in_child(work):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            answer = work()
        except OSError as error:
            answer = errno.errorcode.get(error.errno, str(error))
        os.write(writer, answer.encode()[:200])
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, 200).decode()
    os.close(reader)
    os.waitpid(pid, 0)
    return answer or "killed"


def system(name, *arguments):
    def work():
        ctypes.set_errno(0)
        return word(libc.syscall(SYSCALLS[name], *arguments))
    return work


def opened(path, flags=os.O_WRONLY):
    def work():
        os.close(os.open(path, flags))
        return "allowed"
    return work


def created(path):
    def work():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        os.unlink(path)
        return "allowed"
    return work


def device():
    path = "/tmp/attack-device"
    os.mknod(path, 0o600 | 0o060000, os.makedev(7, 0))
    os.unlink(path)
    return "allowed"


def mounting():
    # A file system that nobody has: whoever may mount is told so, whoever may not is refused before. Nothing is ever mounted.
    ctypes.set_errno(0)
    answer = word(libc.syscall(SYSCALLS["mount"], b"none", b"/tmp", b"no-such-file-system", 0, None))
    return "allowed" if answer == "ENODEV" else answer


def any_of(patterns):
    def work():
        found = [path for pattern in patterns for path in glob.glob(pattern)]
        return "allowed" if found else "ENOENT"
    return work


def pids():
    names = set()
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            names.add(open(path).read().strip())
        except OSError:
            pass
    return "allowed" if names & {"kubelet", "containerd", "systemd", "init", "cilium-agent", "kube-apiserver", "dockerd", "hyper"} else "ENOENT"


def mounted():
    fields = [line.split() for line in open("/proc/mounts")]
    return "allowed" if any(f[1].startswith("/host") for f in fields) else "ENOENT"


def root_by_setuid():
    path = next((p for p in ["/bin/su", "/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount"] if os.path.exists(p) and os.stat(p).st_mode & 0o4000), None)
    if os.getuid() == 0:
        return "allowed"
    return "NoNewPrivs" if status("NoNewPrivs") == "1" else ("allowed" if path else "ENOENT")


ATTEMPTS = {
    "capabilities": lambda: "allowed" if int(status("CapEff"), 16) | int(status("CapPrm"), 16) | int(status("CapBnd"), 16) else "none",
    "new privileges": root_by_setuid,
    "no seccomp": lambda: "allowed" if status("Seccomp") != "2" else "filter",
    "root": lambda: "allowed" if os.getuid() == 0 else "uid %d" % os.getuid(),
    "unshare mounts": lambda: word(libc.unshare(CLONE_NEWNS)),
    "unshare users": lambda: word(libc.unshare(CLONE_NEWUSER)),
    "unshare network": lambda: word(libc.unshare(CLONE_NEWNET)),
    "mount": mounting,
    "keyctl": system("keyctl", 0, -3, 1, 0, 0),
    "bpf": lambda: system("bpf", 0, ctypes.byref((ctypes.c_uint32 * 18)(1, 4, 4, 1)), 72)(),
    "perf": lambda: system("perf_event_open", ctypes.byref((ctypes.c_uint32 * 32)(1, 128)), 0, -1, -1, 0)(),
    "userfaultfd": system("userfaultfd", 0),
    "read-only root": created("/attack-file"),
    "sysctl": opened("/proc/sys/net/ipv4/ip_forward"),
    "sysfs": opened("/sys/kernel/mm/ksm/run"),
    "device": device,
    "memory of the machine": opened("/dev/kmsg"),
    "runtime socket": any_of([root + path for root in ("", "/host") for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/var/lib/*/containerd.sock")]),
    "files of the host": mounted,
    "processes of the host": pids,
}

print("RESULT " + json.dumps({name: in_child(work) for name, work in ATTEMPTS.items()}))
