"""What the control benchmarks see with: pings, solicitations on the wire, processes."""
import ctypes, math, os, select, socket, struct, threading, time
from lab import INET, enter, tree


class Probe(threading.Thread):
    """Pings inet from a namespace all the time, one ping each `interval` seconds."""

    def __init__(self, namespace, interval):
        super().__init__(daemon=True)
        self.namespace, self.interval = namespace, interval
        self.sent, self.answers, self.answered = [], [], set()  # times; (sent, got); indices into sent
        self.news, self.ended = threading.Condition(), False
        self.start()

    def run(self):
        enter(self.namespace)
        receiver = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        receiver.setsockopt(socket.IPPROTO_ICMPV6, 1, b"\xff" * 16 + b"\xfd" + b"\xff" * 15)  # echo replies
        due = time.monotonic()
        while not self.ended:
            if (now := time.monotonic()) >= due:
                due = now + self.interval
                self.ping(now)
            if select.select([receiver], [], [], max(0, due - time.monotonic()))[0]:
                self.answer(receiver.recv(2048))

    def ping(self, now):
        number = len(self.sent)
        self.sent.append(now)
        try:  # A new socket each time, so that the route is looked up anew.
            with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as s:
                s.sendto(struct.pack("!BBHHI", 128, 0, 0, os.getpid() & 0xFFFF, number), (INET, 0))
        except OSError:
            pass

    def answer(self, data):
        if len(data) != 10 or data[0] != 129:
            return
        identifier, number = struct.unpack("!HI", data[4:])
        if identifier != os.getpid() & 0xFFFF or number in self.answered or number >= len(self.sent):
            return
        with self.news:
            self.answered.add(number)
            self.answers.append((self.sent[number], time.monotonic()))
            self.news.notify_all()

    def first(self, since, limit):
        """Seconds from `since` to the first answer to a ping sent after it; infinity past `limit`."""
        fine, seen = self.interval, 0
        with self.news:
            while (left := since + limit - time.monotonic()) > 0:
                for sent, got in self.answers[seen:]:
                    if sent >= since:
                        self.interval = fine
                        return got - since
                seen = len(self.answers)
                # What takes long need not be told to a hundredth of a second.
                self.interval = max(fine, min(1, (time.monotonic() - since) / 20))
                self.news.wait(min(left, 0.5))
        self.interval = fine
        return math.inf

    def lost(self, since, until):
        """Pings sent in between and not answered a second later."""
        time.sleep(max(0, until + 1 - time.monotonic()))
        return sum(since <= sent < until and number not in self.answered for number, sent in enumerate(self.sent))

    def end(self):
        self.ended = True
        self.join()


class Solicitations:
    """Router Solicitations in protocol 41 that leave or enter a namespace, with the kernel's time of each."""
    SO_ATTACH_FILTER, SO_TIMESTAMPNS, ETH_P_ALL = 26, 35, 3
    # IPv4 without options, protocol 41; IPv6, next header 58; type 133.
    CHECKS = ((0, 0x45), (9, 41), (26, 58), (60, 133))

    def __init__(self):
        """In the namespace of the calling thread."""
        self.socket = s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(self.ETH_P_ALL))
        code = []
        for i, (offset, value) in enumerate(self.CHECKS):
            code += [(0x30, 0, 0, offset), (0x15, 0, 2 * (len(self.CHECKS) - i) - 1, value)]
        program = b"".join(struct.pack("HBBI", *c) for c in [*code, (6, 0, 0, 65535), (6, 0, 0, 0)])
        kept = ctypes.create_string_buffer(program)
        s.setsockopt(socket.SOL_SOCKET, self.SO_ATTACH_FILTER,
                     struct.pack("HP", len(program) // 8, ctypes.addressof(kept)))
        s.setsockopt(socket.SOL_SOCKET, self.SO_TIMESTAMPNS, 1)

    def next(self, limit):
        """(time, destination) of the next one, or None past `limit` seconds."""
        if not select.select([self.socket], [], [], limit)[0]:
            return None
        data, control, _, _ = self.socket.recvmsg(2048, 64)
        seconds, nanoseconds = struct.unpack("qq", control[0][2])
        drift = time.clock_gettime(time.CLOCK_REALTIME) - time.monotonic()
        return seconds + nanoseconds / 1e9 - drift, socket.inet_ntoa(data[16:20])

    def first(self, since, limit):
        """The time of the first one after `since`; infinity past `limit` seconds."""
        while (left := since + limit - time.monotonic()) > 0:
            if (one := self.next(left)) and one[0] >= since:
                return one[0]
        return math.inf

    def waiting(self):
        """All that have been seen and not yet been asked for."""
        return list(iter(lambda: self.next(0), None))

    def close(self):
        self.socket.close()


def held(pid):
    """What a daemon's processes hold together."""
    rows = {"RSS, KiB": 0, "descriptors": 0, "threads": 0}
    for p in tree(pid):
        with open(f"/proc/{p}/status") as f:
            status = dict(line.split(":", 1) for line in f)
        with open(f"/proc/{p}/smaps_rollup") as f:  # counted; VmRSS of status is guessed
            rows["RSS, KiB"] += next(int(line.split()[1]) for line in f if line.startswith("Rss:"))
        rows["threads"] += int(status["Threads"])
        rows["descriptors"] += len(os.listdir(f"/proc/{p}/fd"))
    return rows


def peak(pid):
    """The most that a process has had resident, in KiB."""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))


def work(pid):
    """Context switches of all threads and processor time in ms, of a daemon's processes together."""
    switches = ticks = 0
    for p in tree(pid):
        with open(f"/proc/{p}/stat") as f:
            ticks += sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))
        for thread in os.listdir(f"/proc/{p}/task"):
            with open(f"/proc/{p}/task/{thread}/status") as f:
                switches += sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
    return switches, ticks * 1000 // os.sysconf("SC_CLK_TCK")
