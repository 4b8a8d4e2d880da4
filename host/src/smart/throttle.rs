//! How often somebody may try.
//!
//! Tries are counted for an account from an address, and for an address over all accounts. Nothing is counted for an
//! account over all addresses: whoever could fill that count could lock somebody else out.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Tries at once, and one more in so many seconds.
const OF_ACCOUNT: (u32, u64) = (10, 60);
const OF_ADDRESS: (u32, u64) = (60, 5);
const OF_ENROLMENT: (u32, u64) = (10, 60);
const OF_FLOW: (u32, u64) = (300, 1);

/// Counts tries.
pub(super) struct Throttle {
    accounts: DefaultKeyedRateLimiter<String>,
    addresses: DefaultKeyedRateLimiter<String>,
    enrolments: DefaultKeyedRateLimiter<String>,
    flows: DefaultKeyedRateLimiter<String>,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            accounts: limiter(OF_ACCOUNT),
            addresses: limiter(OF_ADDRESS),
            enrolments: limiter(OF_ENROLMENT),
            flows: limiter(OF_FLOW),
        }
    }

    /// Whether an account may be tried from an address.
    pub(super) fn sign_in(&self, account: &str, address: IpAddr) -> bool {
        let address = network(address);
        self.addresses.check_key(&address).is_ok()
            && self.accounts.check_key(&format!("{address} {}", account.chars().take(120).collect::<String>())).is_ok()
    }

    /// Whether a code may be tried from an address.
    pub(super) fn enrol(&self, address: IpAddr) -> bool {
        self.enrolments.check_key(&network(address)).is_ok()
    }

    /// Whether a flow may begin: each is kept for a while.
    pub(super) fn begin(&self, address: IpAddr) -> bool {
        self.flows.check_key(&network(address)).is_ok()
    }

    /// Forget those who have been quiet.
    pub(super) fn tidy(&self) {
        for limiter in [&self.accounts, &self.addresses, &self.enrolments, &self.flows] {
            limiter.retain_recent();
        }
    }
}

fn limiter((burst, seconds): (u32, u64)) -> DefaultKeyedRateLimiter<String> {
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(Duration::from_secs(seconds)).unwrap_or(Quota::per_minute(burst));
    RateLimiter::keyed(quota.allow_burst(burst))
}

/// Who has one address of an IPv6 network has 2^64 of them.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_can_be_tried_ten_times_from_one_address_and_goes_on_from_another() {
        let (throttle, here, there) = (Throttle::new(), [192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        assert!((0..10).all(|_| throttle.sign_in("mia", here)));
        assert!(!throttle.sign_in("mia", here));
        assert!(throttle.sign_in("mia", there) && throttle.sign_in("tom", here));
    }

    #[test]
    fn an_address_can_try_sixty_accounts() {
        let (throttle, here) = (Throttle::new(), [192, 0, 2, 1].into());
        assert!((0..60).all(|n| throttle.sign_in(&format!("account{n}"), here)));
        assert!(!throttle.sign_in("account60", here));
    }

    #[test]
    fn the_addresses_of_one_network_count_as_one() {
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, last]);
        assert_eq!(network(address(1)), network(address(2)));
        assert_ne!(network(address(1)), network(IpAddr::from([0x2001, 0xdb8, 0, 8, 0, 0, 0, 1])));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1");
    }
}
