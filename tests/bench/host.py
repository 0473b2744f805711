"""A host of the site under changes: the daemon that is measured, and what is done to it."""
import concurrent.futures, ctypes, fcntl, glob, math, os, select, signal, socket, struct, subprocess, time
from instruments import Probe, Solicitations
from lab import HERE, INET, LOG, Site, enter, tree

NEWNS, BIND, REC, SLAVE = 0x20000, 0x1000, 0x4000, 0x80000
SIOCSIFADDR = 0x8916
ROUTERS = "10.0.0.101", "10.0.0.102"


def ended(process, limit):
    """Waits until a process has ended; the time then. Popen.wait looks in steps of up to 50 ms."""
    descriptor = os.pidfd_open(process.pid)
    try:
        select.select([descriptor], [], [], limit)
        now = time.monotonic()
        process.wait(0)
        return now
    finally:
        os.close(descriptor)


class Daemon:
    """One that is measured: its program, and what it is told."""

    def __init__(self, name, program, *arguments):
        self.name, self.program, self.arguments = name, os.path.realpath(program), arguments
        self.help = subprocess.run([program, "--help"], capture_output=True, text=True).stdout

    def knows(self, option):
        return option is None or option in self.help


class Host(Site):
    """The site, with a daemon on its host. Routers are radvd's, or our own with `router`, a program."""

    def __init__(self, daemon, *options, spacing=0.01, router=None):
        super().__init__("b-", *options, *(["--no-sit"] if router else []))
        self.daemon, self.spacing, self.router, self.process, self.batches = daemon, spacing, router, None, {}

    def __enter__(self):
        super().__enter__()
        try:
            self.equip()
        except BaseException:
            super().__exit__()
            raise
        return self

    def equip(self):
        # A thread in the host's namespaces: what it starts need not be brought there first.
        self.inside = concurrent.futures.ThreadPoolExecutor(1, initializer=self.move)
        self.wire = self.inside.submit(Solicitations).result()
        if self.router:
            for n, prefix in (1, "2001:db8:1::/64"), (2, f"2001:db8:{1 if '--shared' in self.options else 2}::/64"):
                self.start(f"router{n}", self.router, "--advertise", prefix, "--forward", "--locator", ROUTERS[n - 1])
        self.probe = Probe("b-host", self.spacing)

    def __exit__(self, *_):
        try:
            self.probe.end()
            self.clear()
            for node in [*self.batches]:
                self.done(node)
            self.wire.close()
            self.inside.shutdown()
        finally:
            super().__exit__()

    def move(self):
        libc = ctypes.CDLL(None, use_errno=True)
        resolv = b"/etc/netns/b-host/resolv.conf", os.path.realpath("/etc/resolv.conf").encode()
        if libc.unshare(NEWNS) or libc.mount(b"none", b"/", None, REC | SLAVE, None) \
                or libc.mount(*resolv, None, BIND, None):
            raise OSError(ctypes.get_errno(), "host's mounts")
        enter("b-host")

    def launch(self, *more):
        """Starts the daemon; the time just before."""
        log, self.probe.interval = open(LOG, "a"), self.spacing
        begin = time.monotonic()
        self.process = self.inside.submit(subprocess.Popen, [self.daemon.program, *self.daemon.arguments, *more],
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log).result()
        return begin

    def working(self, *more, limit=120, rest=1):
        """Starts the daemon, waits until it works, and then so many seconds."""
        seconds = self.probe.first(self.launch(*more), limit)
        if seconds > limit:
            raise TimeoutError(f"no ping {limit} s after the start")
        time.sleep(rest)
        return seconds

    def terminate(self, limit=300):
        """Seconds from SIGTERM to the end of the daemon; infinity past `limit`."""
        begin = time.monotonic()
        self.process.terminate()
        try:
            return ended(self.process, limit) - begin
        except subprocess.TimeoutExpired:
            return math.inf

    def child(self):
        """The daemon's second process."""
        return tree(self.process.pid)[1]

    def clear(self):
        """Leaves no daemon and no tunnel on the host, whatever happened."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        mine = {batch.pid for batch in self.batches.values()}
        pids = subprocess.run(["ip", "netns", "pids", "b-host"], capture_output=True, text=True).stdout.split()
        for pid in {*map(int, pids)} - mine:
            os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "-n", "b-host", "link", "del", "is0"], stderr=subprocess.DEVNULL)
        self.process, self.probe.interval = None, 0.5

    def ip(self, node, *lines):
        """Has a waiting `ip` do these lines at once; the time just before."""
        if node not in self.batches:
            self.batches[node] = subprocess.Popen(["ip", "-n", f"b-{node}", "-force", "-batch", "-"], text=True,
                                                  stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=open(LOG, "a"))
        begin = time.monotonic()
        print(*lines, sep="\n", file=self.batches[node].stdin, flush=True)
        return begin

    def done(self, node):
        """Waits until the lines have been done, all of them; the time just after."""
        batch = self.batches.pop(node)
        batch.stdin.close()
        end = ended(batch, 600)
        if batch.returncode:
            raise OSError(f"not all was done on {node}; see {LOG}")
        return end

    def readdress(self, address):
        """Gives eth0 another IPv4 address in one system call; the time just before."""
        request = struct.pack("16sHH4s16x", b"eth0", socket.AF_INET, 0, socket.inet_aton(address))

        def change():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                begin = time.monotonic()
                fcntl.ioctl(s, SIOCSIFADDR, request)
                return begin
        return self.inside.submit(change).result()

    def restore(self):
        """Gives eth0 its first IPv4 address again, and no other."""
        self.ip("host", "addr flush dev eth0", "addr add 10.0.0.2/24 dev eth0")
        self.done("host")

    def dns(self, *addresses):
        self.lab("dns", *addresses)

    def silence(self, yes):
        """Has the name server answer nothing, or answer again."""
        with open("/run/topology/b-/dnsmasq.pid") as f:
            os.kill(int(f.read()), signal.SIGSTOP if yes else signal.SIGCONT)

    def in_use(self):
        """The number of the router that packets to inet go to."""
        route = self.on("host", "ip", "-6", "route", "get", INET)
        return 2 if ":a00:66" in route or "10.0.0.102" in route else 1

    def die(self, n):
        """Router n is gone from the site, and inet knows; the time just after."""
        self.ip("inet", f"route replace 2001:db8:1::/64 via 2001:db8:ffff::10{3 - n}")
        self.ip(f"router{n}", "link set eth0 down")
        self.done("inet")
        return self.done(f"router{n}")

    def revive(self, n):
        self.ip("inet", "route replace 2001:db8:1::/64 via 2001:db8:ffff::101")
        self.ip(f"router{n}", "link set eth0 up")
        self.done("inet")
        self.done(f"router{n}")


def warm(*programs):
    """Copies what will run into the guest's memory, so that nothing waits for the disk below."""
    files = {f"{HERE}/../lab/topology"}
    names = "ip", "dnsmasq", "radvd", "bash", "sh", "mkdir", "rm", "rmdir", "modprobe"
    for name in (*names, *programs):
        which = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True).stdout.strip()
        linked = subprocess.run(["ldd", which], capture_output=True, text=True).stdout.split()
        files |= {which} | {word for word in linked if word.startswith("/")}
    files |= {f"/etc/{f}" for f in ("passwd", "group", "hosts", "ld.so.cache", "services", "protocols")}
    files |= {*glob.glob("/etc/*.conf"), *glob.glob("/usr/lib/*/libnss_dns.so.2")}
    files.add(os.path.join(os.environ.get("ISATAPD_LIBEXECDIR", ""), "isatapd-child"))
    for file in filter(os.path.isfile, files):
        os.utime(os.path.realpath(file))
    for module in "sit", "veth", "bridge":
        subprocess.run(["modprobe", module], stderr=subprocess.DEVNULL)
    with Site("b-"):
        pass
