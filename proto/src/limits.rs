//! Every cap on what crosses the boundary, with its origin.

/// Octets of the longest [`Request`](crate::Request) message; a full set of routes needs 4 KB.
pub const MAX_REQUEST: usize = 8192;
/// Octets of the longest [`Event`](crate::Event) message; 64 router names need 17 KB, search domains 2.
pub const MAX_EVENT: usize = 24_576;
/// Descriptors in one event: resolv.conf and hosts.
pub const MAX_FDS: usize = 2;
/// PRL entries. The kernel walks its list for every packet received and has no limit of its own.
pub const MAX_ROUTERS: usize = 64;
/// Names and addresses of routers in the configuration.
pub const MAX_ROUTER_SPECS: usize = 64;
/// Addresses on the tunnel, each of another prefix.
pub const MAX_ADDRESSES: usize = 16;
/// Default routers kept at once (RFC 4861 section 6.3.4 asks for at least two).
pub const MAX_DEFAULT_ROUTERS: usize = 16;
/// Routes of Route Information options (RFC 4191).
pub const MAX_INFORMATION_ROUTES: usize = 64;
/// Prefixes on the link, each with a route (TUN backend).
pub const MAX_ON_LINK: usize = 32;
/// Routes in all.
pub const MAX_ROUTES: usize = MAX_DEFAULT_ROUTERS + MAX_INFORMATION_ROUTES + MAX_ON_LINK;
/// Prefixes that a router advertises, and as many routes.
pub const MAX_ADVERTISED: usize = 16;
/// DNS servers that a router advertises, and as many search domains.
pub const MAX_ADVERTISED_DNS: usize = 8;
/// Of the host's IPv4 addresses, broadcast addresses, and of others' addresses and routes on the
/// tunnel, each.
pub const MAX_FOREIGN: usize = 64;
/// Name servers used of resolv.conf (MAXNS of resolv.h).
pub const MAX_NAME_SERVERS: usize = 3;
/// DNS sockets that the child may hold at once.
pub const MAX_DNS_SOCKETS: usize = 8;
/// Octets used of resolv.conf and of hosts. One more is read: then the last line may not be whole.
pub const MAX_FILE: usize = 65_536;
/// Octets of one log line of the child.
pub const MAX_LOG: usize = 512;
/// Octets of one piece of the state as text; all of it has 257 lines at most.
pub const MAX_DUMP_PIECE: usize = 4096;
/// Octets of a host name in text (RFC 1035 section 2.3.4: 255 in wire format).
pub const MAX_NAME: usize = 253;
