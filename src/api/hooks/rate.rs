//! How many requests hooks take: so many deliveries of each hook, and so many tries without the right secret of each sender.
//!
//! Both are the generic cell rate algorithm (an even rate with room for a burst). A hook's own deliveries are counted only once
//! they are proven, so that strangers cannot use up what its sender has.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Deliveries of one hook in a second, when nothing is said.
pub(in crate::api) const DELIVERIES_A_SECOND: u32 = 50;
/// A burst is so many seconds' worth of deliveries: a push to a monorepo sets off many at once.
const BURST: u32 = 10;
/// Tries without the right secret that one sender has: so many at once, and then one every second.
const TRIES: u32 = 60;
/// Senders that are remembered before those that have been quiet are forgotten.
const SENDERS: usize = 10_000;

/// What is counted.
pub(in crate::api) struct Rates {
    hooks: Option<DefaultKeyedRateLimiter<String>>,
    senders: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
}

impl Rates {
    /// With so many deliveries of each hook in a second; 0 for as many as come.
    pub(in crate::api) fn new(a_second: u32) -> Self {
        let quota = |rate: NonZeroU32, times: u32| {
            let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(times - 1));
            Quota::per_second(rate).allow_burst(burst)
        };
        Self {
            hooks: NonZeroU32::new(a_second).map(|rate| RateLimiter::keyed(quota(rate, BURST))),
            senders: RateLimiter::keyed(quota(NonZeroU32::MIN, TRIES)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts a proven delivery; how long to wait, when there are too many.
    pub(super) fn delivery(&self, hook: &str) -> Result<(), Duration> {
        let Some(hooks) = &self.hooks else { return Ok(()) };
        hooks.check_key(&hook.to_owned()).map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Counts a try without the right secret; how long to wait, when there are too many.
    pub(super) fn failure(&self, sender: Option<IpAddr>) -> Result<(), Duration> {
        let Some(sender) = sender.map(network) else { return Ok(()) };
        if self.senders.len() > SENDERS {
            self.senders.retain_recent();
        }
        self.senders.check_key(&sender).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_has_its_burst_and_no_more() {
        let rates = Rates::new(2);
        assert_eq!((0..100).filter(|_| rates.delivery("a").is_ok()).count(), 20);
        assert!(rates.delivery("a").is_err_and(|wait| wait <= Duration::from_secs(1)));
        assert!(rates.delivery("b").is_ok(), "another has its own");
        let rates = Rates::new(0);
        assert!((0..10_000).all(|_| rates.delivery("a").is_ok()));
    }

    #[test]
    fn tries_are_counted_by_network() {
        let rates = Rates::new(0);
        let sender = |n: u16| Some(IpAddr::from([0x2001, 0xdb8, 0, 0, n, n, n, n]));
        assert_eq!((0..100).filter(|n| rates.failure(sender(*n)).is_ok()).count(), 60);
        assert!(rates.failure(Some(IpAddr::from([192, 0, 2, 1]))).is_ok());
        assert!(rates.failure(None).is_ok());
    }
}
