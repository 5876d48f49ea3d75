//! What the lists held when they were last read: one that is the same to the letter is not taken apart again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::ports::{Listing, WatchedKind};

/// The digest of a list as the engine sent it.
pub(super) type Text = [u8; 32];

/// The newest list of each kind, whichever endpoint sent it: as text and as what it means.
#[derive(Debug, Default)]
pub(super) struct Listed(Mutex<HashMap<WatchedKind, (Text, Listing)>>);

impl Listed {
    /// What tells a list from any other.
    pub(super) fn text(body: &[u8]) -> Text {
        Sha256::digest(body).into()
    }

    /// What this text means, if it is that of the newest list.
    pub(super) fn get(&self, kind: WatchedKind, text: &Text) -> Option<Listing> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&kind).filter(|(known, _)| known == text).map(|(_, listing)| listing.clone())
    }

    /// Keeps the newest list. Services speak of networks by id: with other networks they may mean something else.
    pub(super) fn put(&self, kind: WatchedKind, text: Text, listing: &Listing) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kind == WatchedKind::Network {
            all.remove(&WatchedKind::Service);
        }
        all.insert(kind, (text, listing.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_text_of_a_kind_is_known_and_services_only_with_the_networks_they_were_read_with() {
        let (listed, empty) = (Listed::default(), Listing::Networks(Vec::new()));
        let services = Listing::Services(Vec::new());
        let (first, second) = (Listed::text(b"[]"), Listed::text(b"null"));
        listed.put(WatchedKind::Network, first, &empty);
        listed.put(WatchedKind::Service, first, &services);
        assert_eq!(listed.get(WatchedKind::Service, &first), Some(services));
        assert_eq!(listed.get(WatchedKind::Service, &second), None);
        assert_eq!(listed.get(WatchedKind::Config, &first), None);
        listed.put(WatchedKind::Network, second, &empty);
        assert_eq!(listed.get(WatchedKind::Network, &first), None);
        assert_eq!(listed.get(WatchedKind::Service, &first), None);
    }
}
