"""Ways between network namespaces that lose and delay.

    python3 slow-ways.py NAMESPACE ADDRESS [NAMESPACE ADDRESS ...]

gives each namespace a device `slow0`; what is routed into it goes on to the namespace that has the address. Each line on
stdin is `FROM TO DELAY_MS LOSS_PERCENT`, by place in the arguments. Prints `ready`, and `ok` for each line. Ends, and takes
the devices away, at the end of stdin.
"""

import fcntl
import heapq
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
spaces = sys.argv[1::2]
places = {socket.inet_aton(address): i for i, address in enumerate(sys.argv[2::2])}
ways, queue, queued = {}, [], 0


def sh(command):
    subprocess.run(command.split(), check=True)


def open_tun(space):
    device = f"s{os.getpid()}x{spaces.index(space)}"
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
    # The device moves; the descriptor stays here.
    sh(f"ip link set {device} netns {space} name slow0")
    sh(f"ip -n {space} link set slow0 up")
    for key in ("all", "slow0"):
        sh(f"ip netns exec {space} sysctl -qw net.ipv4.conf.{key}.rp_filter=0")
    return fd


def forward(source, packet):
    global queued
    target = places.get(packet[16:20])
    if packet[0] >> 4 != 4 or target is None:
        return
    delay, loss = ways.get((source, target), (0.0, 0.0))
    if random.random() < loss:
        return
    queued += 1
    heapq.heappush(queue, (time.monotonic() + delay, queued, target, packet))


def main():
    tuns = [open_tun(space) for space in spaces]
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
            source, target, delay, loss = line.split()
            ways[(int(source), int(target))] = (float(delay) / 1000, float(loss) / 100)
            print("ok", flush=True)


main()
