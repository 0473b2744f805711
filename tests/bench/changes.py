"""The rows that take seconds: one change each, and how long it is felt. A row is called with the site
and the number of its turn, and returns its figures."""
import os, signal, time
from host import ROUTERS

LIMIT = 300  # seconds; what takes longer is shown as more than that


def start(site, turn):
    return {"start to the first answered ping, s": site.working()}


def late(site, before, after):
    """Started before something is there, which comes 5 s later."""
    try:
        before()
        site.launch()
        site.probe.interval = 0.25
        time.sleep(4)
        site.probe.interval = site.spacing
        time.sleep(1)
        return site.probe.first(after() or time.monotonic(), LIMIT)
    finally:
        after()


def late_link(site, turn):
    return {"started without link, link to ping, s": late(
        site, lambda: site.ip("host", "link set eth0 down") and site.done("host"),
        lambda: site.ip("host", "link set eth0 up"))}


def late_address(site, turn):
    return {"started without IPv4 address, address to ping, s": late(
        site, lambda: site.ip("host", "addr flush dev eth0") and site.done("host"),
        lambda: site.ip("host", "addr replace 10.0.0.2/24 dev eth0"))}


def late_name(site, turn):
    return {"started without DNS name, name to ping, s": late(
        site, site.dns, lambda: site.dns(ROUTERS[0]))}


def address(site, turn):
    site.working()
    site.wire.waiting()
    begin = site.readdress("10.0.0.3")
    try:
        return {"IPv4 address changed to solicitation, s": site.wire.first(begin, LIMIT) - begin,
                "IPv4 address changed to ping, s": site.probe.first(begin, LIMIT)}
    finally:
        site.clear()
        site.restore()


def flap(site, turn):
    site.working()
    site.ip("host", "link set eth0 down")
    time.sleep(2)
    return {"link down 2 s, up to ping, s": site.probe.first(site.ip("host", "link set eth0 up"), LIMIT)}


def renamed(site, turn):
    """At different times of the record's life."""
    try:
        site.working(rest=1 + 1.3 * turn)
        site.dns(ROUTERS[1])
        return {"name changed (TTL 10 s), old router dead, to ping, s": site.probe.first(site.die(1), LIMIT)}
    finally:
        site.clear()
        site.revive(1)
        site.dns(ROUTERS[0])


def dead(site, what, *options):
    site.dns(*ROUTERS)
    site.working(*options, rest=3)
    gone = site.in_use()
    try:
        return {what: site.probe.first(site.die(gone), LIMIT)}
    finally:
        site.clear()
        site.revive(gone)


def router_dies(site, turn):
    return dead(site, "one of two routers dies, to ping, s")


def router_dies_soon(site, turn):
    return dead(site, "the same with --router-timeout 1, s", "--router-timeout", "1")


# Seconds from the start to SIGTERM, and whether the name server is silent.
MOMENTS = [(after, silent) for after in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 3) for silent in (False, True)]


def term(site, turn):
    after, silent = MOMENTS[turn % len(MOMENTS)]
    site.silence(silent)
    try:
        site.launch()
        time.sleep(after)
        seconds = site.terminate()
        return {"SIGTERM at any moment to the end, s": seconds,
                "tunnels left": "is0" in site.on("host", "ip", "-br", "link")}
    finally:
        site.silence(False)


def child(site, which):
    """The daemon's second process ends by a signal."""
    site.working()
    site.wire.waiting()
    old = site.child()
    t = time.monotonic()
    os.kill(old, which)
    solicited = site.wire.first(t, LIMIT) - t
    name = which.name
    return {f"child's {name}: pings lost": site.probe.lost(t, t + 2),
            f"child's {name} to solicitation, s": solicited}


def child_killed(site, turn):
    return child(site, signal.SIGKILL)


def child_crashed(site, turn):
    return child(site, signal.SIGSEGV)


def parent(site, turn):
    site.working()
    before = site.on("host", "cat", "/sys/class/net/is0/ifindex")
    t = time.monotonic()
    site.process.kill()
    site.process.wait()
    time.sleep(0.5)
    site.launch()
    time.sleep(2)
    failed = site.process.poll() is not None
    lost = site.probe.lost(t, time.monotonic() - 1)
    after = site.on("host", "cat", "/sys/class/net/is0/ifindex")
    return {"parent's SIGKILL, then start: pings lost": lost, "starts failed": failed,
            "interface indices changed": before != after}


def many(site, turn):
    """Two hundred addresses, all alive, one of them a router's."""
    others = [f"10.0.0.{n}" for n in range(54, 255) if f"10.0.0.{n}" not in ROUTERS]
    site.ip("dns", *(f"addr replace {a}/32 dev eth0" for a in others))
    site.done("dns")
    site.dns(ROUTERS[0], *others)
    site.wire.waiting()
    site.working(rest=30)
    seen = site.wire.waiting()
    first = sum(at < seen[0][0] + 1 for at, _ in seen)
    return {"200 addresses: solicitations in the first second": first,
            "routers solicited in 30 s": len({to for _, to in seen})}
