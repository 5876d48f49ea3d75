//! What the core needs from the world: small traits, each with a real adapter and one in memory, and their errors.
//!
//! Nothing here names a library. Calls that wait return a [`BoxFuture`], so that everything can be handed around as
//! `Arc<dyn …>` and swapped in tests.

mod ambient;
mod decrypter;
mod inquiry;
mod keyring;
mod log_filter;
mod logs;
mod notifier;
mod registry;
mod relay;
mod sealer;
mod source;
mod store;
mod swarm;

pub use ambient::Ambient;
pub use decrypter::{DecryptError, Decrypter, Opened};
pub use futures_util::future::BoxFuture;
pub use futures_util::stream::BoxStream;
pub use inquiry::{
    Area, CompareAnswer, CredentialAnswer, Finding, Health, Inquiries, InquiryError, JobAnswer, MOST_REFS,
    MOST_REGISTRIES, MOST_SOURCES, MOST_TASKS, PlanAnswer, RenderAnswer, RunningStack, StepAnswer, TaskAnswer,
};
pub use keyring::{Keyring, KeyringError, NoKeys, OpenCredential};
pub use log_filter::{LogFilter, NoLog};
pub use logs::{LogLine, LogOf, LogQuery, LogSource, LogStream};
pub use notifier::{NoNotifiers, NotifierAnswer, Notifiers};
pub use registry::{Registry, RegistryError, Tags};
pub use relay::{
    Clear, FarConnector, FarError, FarSkep, Follow, Greeting, HandOver, HandedOver, NoFar, OLDEST_PROTOCOL, PROTOCOL,
    Question, Told,
};
pub use sealer::{KEY_VARIABLE, SealError, Sealer};
pub use source::{CommitInfo, FileError, FileSet, Source, SourceError};
pub use store::{Changed, Committed, Entry, Scan, Store, StoreChange, StoreError, Transaction, Watched, Write};
pub use swarm::{
    EngineCheck, EngineInfo, EngineLog, ImageError, Listing, LogRange, ResolvedImage, Swarm, SwarmConnector,
    SwarmError, SwarmEvent, TaskFilter, WatchedKind,
};
