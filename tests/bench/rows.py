"""The table: each row, where it runs, how often, and what it aims at."""
from dataclasses import dataclass
import changes, storms


@dataclass
class Row:
    """What `measure` returns is aimed at by `aims`: figure: (in the guest, natively). An aim without
    a sign is the most that any run may show; one with "<" is for the median; "peer" is no slower than that."""
    measure: callable
    aims: dict
    runs: int = 7
    peer: int = 7  # runs of isatapd 0.9.7
    native: bool = True
    site: tuple = ()
    needs: str = None  # an option of ours
    spacing: float = 0.01  # of pings natively, in seconds; where the time matters, 0.001


FINE = 0.001
HELD = "RSS, KiB", "descriptors", "threads"


def grown(what, words, rss):
    return {f"{what}: {key} {words}": (f"< {rss}",) * 2 if key.startswith("RSS") else ("0", "0") for key in HELD}


def killed(name):
    return {f"child's {name}: pings lost": ("0", "0"), f"child's {name} to solicitation, s": ("< 0.3", "< 0.3")}


ROWS = {
    "start": Row(changes.start, {"start to the first answered ping, s": ("< 0.2", "< 0.03")}, spacing=FINE),
    "late-link": Row(changes.late_link, {"started without link, link to ping, s": ("< 0.3", None)}, peer=3),
    "late-address": Row(changes.late_address,
                        {"started without IPv4 address, address to ping, s": ("< 0.3", None)}, peer=3),
    "late-name": Row(changes.late_name, {"started without DNS name, name to ping, s": ("< 0.3", None)}, peer=3),
    "address": Row(changes.address, {"IPv4 address changed to solicitation, s": (None, "< 0.002"),
                                     "IPv4 address changed to ping, s": ("< 0.2", "< 0.02")}, peer=1, spacing=FINE),
    "flap": Row(changes.flap, {"link down 2 s, up to ping, s": ("peer", None)}),
    "renamed": Row(changes.renamed, {"name changed (TTL 10 s), old router dead, to ping, s": ("11", "11")},
                   peer=1, site=("--shared",)),
    "dead": Row(changes.router_dies, {"one of two routers dies, to ping, s": ("< 8", "< 8")},
                peer=1, site=("--shared",)),
    "dead-soon": Row(changes.router_dies_soon, {"the same with --router-timeout 1, s": ("< 2", "< 2")},
                     peer=0, site=("--shared",), needs="--router-timeout"),
    "term": Row(changes.term, {"SIGTERM at any moment to the end, s": ("0.3", "0.3"), "tunnels left": ("0", "0")},
                runs=14, peer=2),
    "child-kill": Row(changes.child_killed, killed("SIGKILL")),
    "child-crash": Row(changes.child_crashed, killed("SIGSEGV")),
    "parent-kill": Row(changes.parent,
                       {"parent's SIGKILL, then start: pings lost": ("0", None), "starts failed": ("0", None),
                        "interface indices changed": ("0", None)}, peer=3, native=False),
    "restarts": Row(storms.restarts, {"restart with --keep: pings lost, each of 100": ("0", None)},
                    runs=1, peer=1, native=False, needs="--keep"),
    "many": Row(changes.many, {"200 addresses: solicitations in the first second": ("10", "10"),
                               "routers solicited in 30 s": ("64", "64")}, runs=3, peer=1),
    "flaps": Row(storms.flaps, {"1,000 link flaps, last one to ping, s": ("< 1", "< 1")} | grown("flaps", "more", 100),
                 runs=1, peer=0),
    "interfaces": Row(storms.interfaces, {"5,000 interfaces come and gone, then address, to ping, s": ("< 1", "< 1"),
                                          "interfaces: parent's peak, KiB more": ("< 2048", "< 2048")}
                      | grown("interfaces", "more", 2048), runs=1, peer=0),
    "idle": Row(storms.idle, {"idle 300 s: context switches of both": ("0", None)}, runs=1, peer=1, native=False,
                site=("--ttl", "3600")),
    "soak": Row(storms.soak, {"soak of an hour: ping after it, s": ("< 1", None)}
                | grown("soak", "more at 60 than at 10 minutes", 100)
                | {"soak: descriptors more at 60 than at 10 minutes": ("1", None)}, runs=1, peer=0, native=False),
}
