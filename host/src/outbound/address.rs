//! Which addresses of the network an issuer may have.
//!
//! SECURITY: the host fetches keys from where its configuration says. Whoever controls a name in there
//! must not make it speak to the cloud's metadata service or to a neighbour on the inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What an address is, as far as reaching it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// anybody's, by unicast
    Public,
    /// this machine
    Loopback,
    /// of this site or link: private, shared, link-local, unique local
    Private,
    /// nobody to fetch from: unspecified, multicast, documentation, reserved
    Nowhere,
}

/// Which of them may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowed {
    /// public ones
    Public,
    /// private ones and this machine too
    PrivateToo,
    /// this machine alone: where the connection is not encrypted
    LoopbackOnly,
}

impl Allowed {
    /// Whether this address may be connected to.
    pub(super) fn admits(self, address: IpAddr) -> bool {
        match (reach(address), self) {
            (Reach::Public, Self::Public | Self::PrivateToo)
            | (Reach::Private, Self::PrivateToo)
            | (Reach::Loopback, Self::PrivateToo | Self::LoopbackOnly) => true,
            (Reach::Public | Reach::Private | Reach::Loopback | Reach::Nowhere, _) => false,
        }
    }
}

/// What an address is.
pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

/// After IANA's registry of special-purpose IPv4 addresses (RFC 6890).
fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        [127, ..] => Reach::Loopback,
        // 100.64.0.0/10 is shared by the customers of one provider (RFC 6598).
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [169, 254, ..] | [100, 64..=127, ..] => Reach::Private,
        // This network, protocol assignments, documentation, 6to4 relays, benchmarks, multicast, reserved.
        [0, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] | [198, 18..=19, ..] => Reach::Nowhere,
        [198, 51, 100, _] | [203, 0, 113, _] | [224..=255, ..] => Reach::Nowhere,
        _ => Reach::Public,
    }
}

/// After IANA's registries of IPv6 addresses: only 2000::/3 is given out for global unicast.
fn reach_v6(address: Ipv6Addr) -> Reach {
    let segments = address.segments();
    let [.., high, low] = segments;
    let embedded = Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        // SECURITY: an IPv4 address in disguise is never public, so that no list in front is bypassed.
        [0, 0, 0, 0, 0, 0xffff, ..] => match reach_v4(embedded) {
            Reach::Public => Reach::Private,
            other => other,
        },
        // Where a network has IPv6 only, public IPv4 hosts are reached below this prefix (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => match reach_v4(embedded) {
            Reach::Public => Reach::Public,
            _ => Reach::Nowhere,
        },
        [0xfe80..=0xfebf, ..] | [0xfc00..=0xfdff, ..] => Reach::Private,
        // Protocol assignments with Teredo, documentation, 6to4: they lead elsewhere or nowhere.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => Reach::Nowhere,
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Nowhere,
    }
}

/// Resolves names to addresses that are allowed, and to no others.
///
/// SECURITY: the client connects to the very addresses returned here, so a name that changes its mind
/// between check and use (DNS rebinding) gains nothing. It does not ask for literal addresses: those
/// are checked where the URL is read.
pub(super) struct Guarded(pub(super) Allowed);

/// A name has no address that may be connected to.
#[derive(Debug, thiserror::Error)]
#[error("no address of the name is allowed")]
struct NoneAllowed;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let fit: Vec<SocketAddr> = found.filter(|address| allowed.admits(address.ip())).collect();
            if fit.is_empty() {
                return Err(NoneAllowed.into());
            }
            Ok(Box::new(fit.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(reach_expected: Reach, addresses: &[&str]) {
        for text in addresses {
            assert_eq!(reach(text.parse().unwrap()), reach_expected, "{text}");
        }
    }

    #[test]
    fn ipv4_ranges_end_where_they_end() {
        is(Reach::Loopback, &["127.0.0.0", "127.0.0.1", "127.255.255.255"]);
        is(Reach::Private, &["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0"]);
        is(Reach::Private, &["192.168.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255"]);
        is(Reach::Private, &["100.64.0.0", "100.127.255.255"]);
        is(Reach::Nowhere, &["0.0.0.0", "0.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.2.0", "192.0.2.255"]);
        is(Reach::Nowhere, &["192.88.99.0", "192.88.99.255", "198.18.0.0", "198.19.255.255", "198.51.100.0"]);
        is(Reach::Nowhere, &["198.51.100.255", "203.0.113.0", "203.0.113.255", "224.0.0.0", "239.255.255.255"]);
        is(Reach::Nowhere, &["240.0.0.0", "255.255.255.255"]);
        is(Reach::Public, &["1.0.0.0", "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0"]);
        is(Reach::Public, &["172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "169.253.255.255"]);
        is(Reach::Public, &["169.255.0.0", "100.63.255.255", "100.128.0.0", "191.255.255.255", "192.0.1.0"]);
        is(Reach::Public, &["192.0.1.255", "192.0.3.0", "192.88.98.255", "192.88.100.0", "198.17.255.255"]);
        is(Reach::Public, &["198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0"]);
        is(Reach::Public, &["223.255.255.255"]);
    }

    #[test]
    fn ipv6_ranges_end_where_they_end() {
        is(Reach::Loopback, &["::1"]);
        is(Reach::Private, &["fe80::", "febf:ffff::1", "fc00::", "fdff:ffff::1"]);
        is(Reach::Nowhere, &["::", "::2", "::7f00:1", "fbff::1", "fe00::", "fe7f::1", "fec0::1", "feff::1"]);
        is(Reach::Nowhere, &["ff00::", "ff02::1", "ffff:ffff::1", "1fff:ffff::1", "4000::", "100::1"]);
        is(Reach::Nowhere, &["2001::", "2001:1ff:ffff::1", "2001:db8::", "2001:db8:ffff::1", "2002::", "2002:ffff::1"]);
        is(Reach::Nowhere, &["3fff::", "3fff:fff:ffff::1"]);
        is(Reach::Public, &["2000::", "2000:ffff::1", "2001:200::", "2001:db7:ffff::1", "2001:db9::", "2003::1"]);
        is(Reach::Public, &["2a00:1450::1", "3ffe:ffff::1", "3fff:1000::", "3fff:ffff::1"]);
    }

    #[test]
    fn an_ipv4_address_in_disguise_is_no_better_than_itself() {
        is(Reach::Loopback, &["::ffff:127.0.0.1"]);
        is(Reach::Private, &["::ffff:10.0.0.1", "::ffff:8.8.8.8"]);
        is(Reach::Nowhere, &["::ffff:0.0.0.0", "::ffff:224.0.0.1", "::fffe:8.8.8.8", "::1:0:8.8.8.8"]);
        is(Reach::Public, &["64:ff9b::8.8.8.8"]);
        is(Reach::Nowhere, &["64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::8.8.8.8", "64:ff9c::8.8.8.8"]);
    }

    #[test]
    fn what_may_be_connected_to_is_what_was_allowed() {
        let admits = |allowed: Allowed| {
            ["8.8.8.8", "127.0.0.1", "10.0.0.1", "224.0.0.1"].map(|text| allowed.admits(text.parse().unwrap()))
        };
        assert_eq!(admits(Allowed::Public), [true, false, false, false]);
        assert_eq!(admits(Allowed::PrivateToo), [true, true, true, false]);
        assert_eq!(admits(Allowed::LoopbackOnly), [false, true, false, false]);
    }

    #[tokio::test]
    async fn a_name_of_this_machine_resolves_only_where_that_is_allowed() {
        let resolve = |allowed: Allowed| Guarded(allowed).resolve("localhost".parse().unwrap());
        assert!(resolve(Allowed::Public).await.is_err());
        assert!(resolve(Allowed::LoopbackOnly).await.unwrap().all(|address| address.ip().is_loopback()));
    }
}
