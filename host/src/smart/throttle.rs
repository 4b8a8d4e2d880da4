//! How often somebody may try.
//!
//! Tries that fail are counted, for an account from an address and for an address over all accounts. Nothing is
//! counted for an account over all addresses: whoever could fill that count could lock somebody out who is elsewhere.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    /// whose tries failed too often, and until when they may not try
    closed: Mutex<HashMap<String, Instant>>,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self {
            accounts: limiter(OF_ACCOUNT),
            addresses: limiter(OF_ADDRESS),
            enrolments: limiter(OF_ENROLMENT),
            flows: limiter(OF_FLOW),
            closed: Mutex::default(),
        }
    }

    /// Whether an account may be tried from an address.
    pub(super) fn may_sign_in(&self, account: &str, address: IpAddr) -> bool {
        let address = network(address);
        !self.is_closed(&address) && !self.is_closed(&of_account(account, &address))
    }

    /// Somebody could not sign in to an account from an address.
    pub(super) fn failed(&self, account: &str, address: IpAddr) {
        let address = network(address);
        self.count(&self.accounts, of_account(account, &address), OF_ACCOUNT);
        self.count(&self.addresses, address, OF_ADDRESS);
    }

    /// Whether a code may be tried from an address.
    pub(super) fn may_enrol(&self, address: IpAddr) -> bool {
        !self.is_closed(&format!("enrol {}", network(address)))
    }

    /// A code was tried from an address that is none, or not for those details.
    pub(super) fn failed_to_enrol(&self, address: IpAddr) {
        self.count(&self.enrolments, format!("enrol {}", network(address)), OF_ENROLMENT);
    }

    fn count(&self, failures: &DefaultKeyedRateLimiter<String>, key: String, (_, seconds): (u32, u64)) {
        if failures.check_key(&key).is_err() {
            let until = Instant::now() + Duration::from_secs(seconds);
            self.closed.lock().unwrap_or_else(PoisonError::into_inner).insert(key, until);
        }
    }

    fn is_closed(&self, key: &str) -> bool {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.get(key).is_some_and(|until| *until > Instant::now())
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
        let now = Instant::now();
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, until| *until > now);
    }
}

fn limiter((burst, seconds): (u32, u64)) -> DefaultKeyedRateLimiter<String> {
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(Duration::from_secs(seconds)).unwrap_or(Quota::per_minute(burst));
    RateLimiter::keyed(quota.allow_burst(burst))
}

fn of_account(account: &str, network: &str) -> String {
    format!("{network} {}", account.chars().take(120).collect::<String>())
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
    fn an_account_can_be_failed_ten_times_from_one_address_and_goes_on_from_another() {
        let (throttle, here, there) = (Throttle::new(), [192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        (0..10).for_each(|_| throttle.failed("mia", here));
        assert!(throttle.may_sign_in("mia", here));
        throttle.failed("mia", here);
        assert!(!throttle.may_sign_in("mia", here));
        assert!(throttle.may_sign_in("mia", there) && throttle.may_sign_in("tom", here));
    }

    #[test]
    fn an_address_may_fail_sixty_times_and_succeed_as_often_as_it_likes() {
        let (throttle, here, there) = (Throttle::new(), [192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        (0..60).for_each(|n| throttle.failed(&format!("account{n}"), here));
        assert!(throttle.may_sign_in("one", here));
        throttle.failed("one", here);
        assert!(!throttle.may_sign_in("another", here) && throttle.may_sign_in("another", there));
        assert!(throttle.may_enrol(here));
    }

    #[test]
    fn codes_are_counted_where_they_fail() {
        let (throttle, here) = (Throttle::new(), [192, 0, 2, 1].into());
        (0..10).for_each(|_| throttle.failed_to_enrol(here));
        assert!(throttle.may_enrol(here));
        throttle.failed_to_enrol(here);
        assert!(!throttle.may_enrol(here) && throttle.may_sign_in("one", here));
    }

    #[test]
    fn the_addresses_of_one_network_count_as_one() {
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, last]);
        assert_eq!(network(address(1)), network(address(2)));
        assert_ne!(network(address(1)), network(IpAddr::from([0x2001, 0xdb8, 0, 8, 0, 0, 0, 1])));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1");
    }
}
