//! The host of the tests of the TUN backend.

use crate::namespace::{await_up, ip_batch, namespace};

/// A host with two addresses, and a link to nowhere.
pub(crate) fn host() {
    namespace();
    ip_batch(
        "link add va type veth peer name vb
        link set va addrgenmode none
        link set vb addrgenmode none
        link set va up
        link set vb up
        address add 10.0.0.2/24 brd + dev va
        address add 10.0.0.3/24 brd + dev va",
    );
    await_up(&["va", "vb"]);
}
