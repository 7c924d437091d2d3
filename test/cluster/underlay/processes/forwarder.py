"""Network namespaces joined by a network that this process is: it loses, delays and cuts.

    python3 forwarder.py NAME COUNT

makes namespaces NAME0, NAME1, ... in which a host has the address 10.77.0.1, 10.77.0.2, ... Each line on stdin changes
the network: `loss PERCENT`, `delay MS`, `cut 0,1 2` (both ways between the two groups), `join`. Prints `ok` for each
line, and `ready` at the start. Ends, and takes the namespaces away, at the end of stdin.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
name, count = sys.argv[1], int(sys.argv[2])
loss, delay, cuts = 0.0, 0.0, set()
queue, queued = [], 0


def sh(command):
    subprocess.run(command.split(), check=True)


def open_tun(index):
    device = f"{name}t{index}"
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
    space = f"{name}{index}"
    sh(f"ip netns add {space}")
    # The device moves; the descriptor stays here.
    sh(f"ip link set {device} netns {space}")
    sh(f"ip -n {space} addr add 10.77.0.{index + 1}/24 dev {device}")
    sh(f"ip -n {space} link set {device} up")
    sh(f"ip -n {space} link set lo up")
    return fd


def command(line):
    global loss, delay, cuts
    words = line.split()
    if words[0] == "loss":
        loss = float(words[1]) / 100
    elif words[0] == "delay":
        delay = float(words[1]) / 1000
    elif words[0] == "join":
        cuts = set()
    elif words[0] == "cut":
        left, right = ([int(i) for i in group.split(",")] for group in words[1:3])
        cuts = {(a, b) for a in left for b in right} | {(b, a) for a in left for b in right}


def forward(source, packet):
    global queued
    if packet[0] >> 4 != 4:
        return
    target = packet[19] - 1
    if not 0 <= target < count or (source, target) in cuts or random.random() < loss:
        return
    queued += 1
    heapq.heappush(queue, (time.monotonic() + delay, queued, target, packet))


def main():
    tuns = [open_tun(index) for index in range(count)]
    print("ready", flush=True)
    while True:
        timeout = max(0, queue[0][0] - time.monotonic()) if queue else None
        readable, _, _ = select.select([sys.stdin, *tuns], [], [], timeout)
        for source, fd in enumerate(tuns):
            if fd in readable:
                forward(source, os.read(fd, 65536))
        while queue and queue[0][0] <= time.monotonic():
            _, _, target, packet = heapq.heappop(queue)
            try:
                os.write(tuns[target], packet)
            except OSError:
                pass
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if line == "":
                return
            command(line)
            print("ok", flush=True)


try:
    main()
finally:
    for index in range(count):
        subprocess.run(["ip", "netns", "del", f"{name}{index}"], check=False)
