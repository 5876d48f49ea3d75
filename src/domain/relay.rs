//! A relay: an environment whose Swarm is kept by another Skep. This one, which people and hooks talk to, is the *near* one;
//! the other, beside the Swarm, the *far* one.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{CredentialName, EnvironmentName};

/// How the far Skep of an environment is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Its address, `https://host[:port][/path]`; without TLS only on this machine.
    pub url: String,
    /// The credential with its token.
    pub credential: CredentialName,
    /// The environment's name there.
    pub environment: EnvironmentName,
    /// How often it says that it is still there. After three times as long without a word it counts as gone.
    pub beat: SignedDuration,
}

impl Relay {
    /// How often the far Skep says that it is there when nothing else is asked for.
    pub const BEAT: SignedDuration = SignedDuration::from_secs(5);
}

/// An installation of Skep, as another one knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// The installation's id.
    pub instance: String,
    /// The mark of the restore it came from, if it did: a restored copy is somebody else.
    pub restored: Option<String>,
}

/// Written on a stack that was handed over: whose it is, and how far that one has come. Nobody else changes the stack here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayMark {
    /// The Skep that declares it; none when people here took it over by a claim.
    pub near: Option<Installation>,
    /// The revision of the near one's record that was taken last.
    pub revision: u64,
    /// The newest claim that was heeded. Later ones are greater.
    pub claim: Option<String>,
}

impl RelayMark {
    /// Whether the stack is declared by another Skep.
    #[must_use]
    pub fn is_handed(&self) -> bool {
        self.near.is_some()
    }
}

/// Written on a deployment that was handed over: by whom, and since when it is known here. What is asked of this machine's
/// sources must be as new as that: the near one's clock may be another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// The Skep that recorded it.
    pub near: Installation,
    /// When it was taken, by the clock here.
    pub at: Timestamp,
}

/// How far the near Skep has come in reading the far one's records. Moves in one transaction with what was read, so that
/// nothing is lost and nothing written twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayCursor {
    /// The far installation.
    pub far: Installation,
    /// Its store's revision up to which its records were read.
    pub revision: u64,
    /// The number of the last line of its log that was read.
    pub sequence: u64,
    /// The time of that line: of a far Skep restored from a backup only later ones are news.
    pub time: Option<Timestamp>,
}
