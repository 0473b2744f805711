"""The rows that take long: many changes, a long rest, an hour's use."""
import os, random, socket, struct, threading, time
from changes import LIMIT
from host import ROUTERS
from instruments import held, peak, work
from lab import enter, pss

FLAPS, INTERFACES, RESTARTS = 1000, 5000, 100


def growth(before, after, what):
    return {f"{what}: {key} more": after[key] - before[key] for key in before}


def restarts(site, turn):
    """With --keep, where the daemon has it; else it loses what it loses."""
    keep = ["--keep"] if site.daemon.knows("--keep") else []
    count = RESTARTS if keep else 5
    site.working(*keep)
    begin = time.monotonic()
    for _ in range(count):
        site.terminate()
        site.launch(*keep)
        time.sleep(0.5 if keep else 2)
    lost = site.probe.lost(begin, time.monotonic() - 1)
    return {"restart with --keep: pings lost, each of 100": lost / count}


def flaps(site, turn):
    site.working()
    flap = ["link set eth0 down", "link set eth0 up"]
    site.ip("host", *flap * 10)  # so that the code for it is in memory
    site.done("host")
    time.sleep(10)
    before = held(site.process.pid)
    site.ip("host", *flap * FLAPS)
    seconds = site.probe.first(site.done("host"), LIMIT)
    time.sleep(10)
    return {"1,000 link flaps, last one to ping, s": seconds} | growth(before, held(site.process.pid), "flaps")


def interfaces(site, turn):
    """The host's address changes at the end, so that being right takes something."""
    site.working(rest=5)
    before, most = held(site.process.pid), peak(site.process.pid)
    kind = "bridge" if site.router else "dummy"  # the cheaper one, where the kernel is sure to have it
    site.ip("host", *(f"link add x{n} group 7 type {kind}" for n in range(INTERFACES)), "link del group 7",
            "addr del 10.0.0.2/24 dev eth0", "addr add 10.0.0.3/24 dev eth0")
    try:
        seconds = site.probe.first(site.done("host"), LIMIT)
        time.sleep(10)
        more = growth(before, held(site.process.pid), "interfaces")
        return {"5,000 interfaces come and gone, then address, to ping, s": seconds,
                "interfaces: parent's peak, KiB more": peak(site.process.pid) - most} | more
    finally:
        site.clear()
        site.restore()


def idle(site, turn):
    site.working()
    site.probe.end()  # so that nothing but the daemon wakes
    time.sleep(60)
    before = work(site.process.pid)
    time.sleep(300)
    after = work(site.process.pid)
    return {"idle 300 s: context switches of both": after[0] - before[0],
            "idle 300 s: processor time of both, ms": after[1] - before[1],
            "idle: Pss of both, KiB": pss(site.process.pid)}


def advert():
    """router1's advertisement to host, in protocol 41."""
    source, to = (socket.inet_pton(socket.AF_INET6, f"fe80::5efe:{a}") for a in (ROUTERS[0], "10.0.0.2"))
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    body += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 14400, 0) + socket.inet_pton(socket.AF_INET6, "2001:db8:1::")
    total = sum(struct.unpack(f"!{20 + len(body) // 2}H", source + to + struct.pack("!II", len(body), 58) + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + to + body


def advertise(ended):
    """Sends one each four seconds from router1."""
    enter("b-router1")
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, 41) as s:
        while not ended.wait(4):
            s.sendto(advert(), ("10.0.0.2", 0))


def soak(site, turn):
    """An hour: advertisements, each minute a flap, each two minutes other names, each ten minutes a killed child.
    What is held is looked at before each kill, when one router is known; a look-up may be under way."""
    site.working(rest=5)
    ended, samples = threading.Event(), {}
    adverts = threading.Thread(target=advertise, args=(ended,), daemon=True)
    adverts.start()
    begin = time.monotonic()
    site.probe.interval = 1
    try:
        for minute in range(1, 61):
            time.sleep(max(0, begin + 60 * minute - 5 - time.monotonic()))
            if minute % 10 == 0:
                samples[minute] = held(site.process.pid)
                os.kill(site.child(), 9)
            if minute % 2 == 0:
                site.dns(*random.sample(ROUTERS, 2 if minute % 10 == 4 else 1))
            site.ip("host", "link set eth0 down")
            time.sleep(1)
            site.ip("host", "link set eth0 up")
    finally:
        ended.set()
        adverts.join()
    figures = {"soak of an hour: ping after it, s": site.probe.first(time.monotonic(), 30)}
    for key in samples[10]:
        values = [sample[key] for sample in samples.values()]
        figures[f"soak: {key} more at 60 than at 10 minutes"] = values[-1] - values[0]
        print(f"soak of {site.daemon.name}: {key} at 10, 20 ... 60 minutes: {' '.join(map(str, values))}", flush=True)
    return figures
