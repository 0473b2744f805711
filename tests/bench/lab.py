"""What the benchmarks share: the site, the daemons, loads and figures."""
import ctypes, json, os, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.realpath(__file__))
LOG = "/tmp/bench.log"
INET = "2001:db8:ffff::1"
TICK = os.sysconf("SC_CLK_TCK")


def enter(namespace):
    """Moves the calling thread into a network namespace."""
    with open(f"/run/netns/{namespace}") as f:
        if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")


def tree(pid):
    """A process and all below it."""
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [pid] + [p for child in f.read().split() for p in tree(int(child))]


def pss(pid):
    """Proportional memory of a process and all below it, in KiB."""
    total = 0
    for p in tree(pid):
        with open(f"/proc/{p}/smaps_rollup") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total


def busy():
    """Seconds of processor time that this machine has spent, idle and waiting time excepted."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, *_ = map(int, f.readline().split()[1:])
    return (user + nice + system + irq + softirq) / TICK


class Site:
    """tests/lab/topology, up until the end of a `with`."""

    def __init__(self, prefix, *options):
        self.prefix, self.options, self.running = prefix, options, []

    def __enter__(self):
        self.lab("down")
        self.lab("up", *self.options)
        time.sleep(2)  # duplicate address detection behind the routers
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.kill()
            process.wait()
        self.lab("down")

    def lab(self, *arguments):
        subprocess.run([f"{HERE}/../lab/topology", "-p", self.prefix, *arguments], check=True)

    def on(self, node, *command, **options):
        """What a command on a node prints."""
        done = subprocess.run(["ip", "netns", "exec", self.prefix + node, *command],
                              text=True, stdout=subprocess.PIPE, **options)
        return done.stdout

    def start(self, node, *command):
        """A process on a node that ends with the site at the latest."""
        log = open(LOG, "a")
        process = subprocess.Popen(["ip", "netns", "exec", self.prefix + node, *command],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def stop(self, *processes):
        """Asks processes to end, and waits for it."""
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)
            self.running.remove(process)

    def wait(self, node, address, seconds=30):
        """Until `address` answers a ping from there."""
        end = time.monotonic() + seconds
        while subprocess.run(["ip", "netns", "exec", self.prefix + node, "ping", "-c1", "-W1", address],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            if time.monotonic() > end:
                sys.exit(f"bench: no ping from {node} to {address} in {seconds} s; see {LOG}")
            time.sleep(0.05)

    def daemons(self, isatapd):
        """Our router and our host, both with their own data path; the host works."""
        router = self.start("router1", isatapd, "--advertise", "2001:db8:1::/64", "--forward",
                            "--locator", "10.0.0.101")
        host = self.start("host", isatapd, "--backend", "tun", "10.0.0.101")
        self.wait("host", INET)
        return host, router


def iperf(site, server, *options):
    """One run from host to a server: (bits a second, packets a second as received, processor seconds a gigabit)."""
    before = busy()
    text = site.on("host", "iperf3", "-J", "-c", server, *options)
    spent = busy() - before
    end = json.loads(text)["end"]
    received = end.get("sum_received") or end["sum"]
    rate, seconds = received["bits_per_second"], received["seconds"]
    packets = 0
    if "packets" in (udp := end.get("sum", {})):
        share = (udp["packets"] - udp["lost_packets"]) / max(1, udp["packets"])
        packets = udp["packets"] / udp["seconds"] * share
        rate = packets * udp["bytes"] / max(1, udp["packets"]) * 8
    return rate, packets, spent / (rate * seconds / 1e9) if rate else 0


def on_one_processor(pid):
    """Keeps all threads of a process and of those below it on the first processor."""
    for p in tree(pid):
        for thread in os.listdir(f"/proc/{p}/task"):
            os.sched_setaffinity(int(thread), {0})


def latency(site, address, count, *before, pace=("-i", "0.002")):
    """Median time of single pings in µs, one after the other. `before`: what runs the ping."""
    text = site.on("host", *before, "ping", "-n", "-c", str(count), *pace, address)
    times = [float(line.split("time=")[1].split()[0]) for line in text.splitlines() if "time=" in line]
    return statistics.median(times) * 1000


def latency_awake(site, address, count):
    """The same where no processor falls asleep: the next ping leaves when the last is answered, from
    the processor that the daemons are kept on."""
    return latency(site, address, count, "taskset", "-c", "0", pace=("-A",))


def report(title, rows, columns, where=None):
    """A table on the standard output, and JSON in the file `where`."""
    print(f"\n{title}\n{'':36}" + "".join(f"{c:>15}" for c in columns))
    for row, values in rows.items():
        print(f"{row:36}" + "".join(f"{values.get(c, '-'):>15.6g}" if c in values else f"{'-':>15}" for c in columns))
    if where:
        with open(where, "w") as f:
            json.dump({"title": title, "kernel": os.uname().release, "rows": rows}, f, indent=1)
