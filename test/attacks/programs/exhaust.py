# Takes a bounded amount of one thing, tells how much it got, and lets go. `wait`: seconds to stay with it, so that whoever counts has the time.
import json
import os
import subprocess
import sys
import time

request = json.load(open(sys.argv[1]))
kind, amount, wait = request["kind"], request["amount"], request.get("wait", 0)
MIB = 1 << 20


def memory():
    taken = []
    for _ in range(amount):
        block = bytearray(MIB)
        block[::4096] = b"x" * (MIB // 4096)
        taken.append(block)
    return len(taken)


def disk():
    with open(request["path"] + "/filler", "wb", buffering=0) as file:
        for _ in range(amount):
            file.write(b"x" * MIB)
        os.fsync(file.fileno())
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        time.sleep(0.5)
    size = os.path.getsize(request["path"] + "/filler") // MIB
    os.unlink(request["path"] + "/filler")
    return size


def processes():
    # All that may be had, kept for a while: nobody else in the pod can begin one meanwhile.
    children, full = [], False
    while len(children) < amount and not full:
        try:
            children.append(subprocess.Popen(["sleep", "40"]))
        except OSError:
            full = True
    time.sleep(wait)
    alive = sum(1 for child in children if child.poll() is None)
    for child in children:
        child.kill()
    return amount if alive == len(children) else alive


def output():
    line = "x" * 1023 + "\n"
    for _ in range(amount * 1024):
        sys.stdout.write(line)
    return amount


def duration():
    time.sleep(amount)
    return amount


got = {"memory": memory, "disk": disk, "processes": processes, "output": output, "time": duration}[kind]()
print("RESULT " + json.dumps({"got": got}))
