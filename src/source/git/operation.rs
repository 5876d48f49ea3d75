//! One conversation with a repository's host: its place among the others, its limits, and its end.
//!
//! The library blocks, so a conversation has a thread. The thread never waits for a host by itself: http waits through
//! [`Operation::wait`], which a stop ends at once, and a program is killed by a stop, which ends the reading of its
//! output. So a thread outlives its time only when a disk hangs. It then keeps its places for [`GRACE`] and no longer:
//! the caller has been answered long before, and a few stray threads do less harm than a source that stands still for
//! ever.

use std::collections::HashMap;
use std::io;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::failure::{Cause, Explained, Failure, explain, plain, unreachable};
use crate::domain::GitUrl;
use crate::outbound::ssh::Identity;

/// How long a thread that was stopped keeps its places.
const GRACE: Duration = Duration::from_secs(5);

/// A lock whose holder panicked holds nothing half-done here: every critical section is one assignment or look-up.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one conversation's thread, its transports and its supervisor share.
pub(super) struct Operation {
    url: GitUrl,
    runtime: Handle,
    stop: CancellationToken,
    interrupt: AtomicBool,
    received: AtomicU64,
    limit: AtomicU64,
    cause: Mutex<Option<Cause>>,
    program: Mutex<Option<Program>>,
}

/// A program that carries the conversation, and what it says on its error output when it ends.
struct Program {
    child: Child,
    said: Receiver<String>,
    /// The files with its key: there as long as it runs.
    identity: Option<Identity>,
}

impl Operation {
    fn new(url: GitUrl, limit: u64) -> Self {
        Self {
            url,
            runtime: Handle::current(),
            stop: CancellationToken::new(),
            interrupt: AtomicBool::new(false),
            received: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
            cause: Mutex::new(None),
            program: Mutex::new(None),
        }
    }

    /// The address talked to.
    pub(super) fn url(&self) -> &GitUrl {
        &self.url
    }

    /// Set when the conversation is to end; the library looks at it.
    pub(super) fn interrupt(&self) -> &AtomicBool {
        &self.interrupt
    }

    /// Changes how many bytes may still come.
    pub(super) fn allow(&self, bytes: u64) {
        self.limit.store(self.received.load(Ordering::Relaxed).saturating_add(bytes), Ordering::Relaxed);
    }

    /// Notes why the conversation is going to fail. Only the first cause counts.
    pub(super) fn blame(&self, cause: Cause) {
        locked(&self.cause).get_or_insert(cause);
    }

    /// Notes a cause, and gives the error that makes the library stop.
    pub(super) fn fail(&self, cause: Cause) -> io::Error {
        self.blame(cause);
        io::Error::other("the conversation failed")
    }

    /// Waits in the conversation's own thread, until a stop at most.
    pub(super) fn wait<F: Future>(&self, future: F) -> io::Result<F::Output> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => Err(io::Error::other("stopped")),
                output = future => Ok(output),
            }
        })
    }

    /// Counts bytes that came in.
    pub(super) fn count(&self, bytes: usize) -> io::Result<()> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let received = self.received.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if self.stop.is_cancelled() {
            return Err(io::Error::other("stopped"));
        }
        let limit = self.limit.load(Ordering::Relaxed);
        if received > limit {
            return Err(self.fail(Cause::TooLarge(format!("it sent more than the {limit} bytes that may still come"))));
        }
        Ok(())
    }

    /// Takes over the program that carries the conversation.
    pub(super) fn adopt(&self, child: Child, said: Receiver<String>, identity: Option<Identity>) {
        *locked(&self.program) = Some(Program { child, said, identity });
        if self.stop.is_cancelled() {
            self.kill();
        }
    }

    fn kill(&self) {
        if let Some(program) = locked(&self.program).as_mut() {
            // It may have ended by itself; then there is nothing to kill.
            program.child.kill().ok();
        }
    }

    fn stop(&self) {
        self.interrupt.store(true, Ordering::Relaxed);
        self.stop.cancel();
        self.kill();
    }

    /// Ends the program, if there is one. `patience` is for it to end by itself and say why.
    fn end_program(&self, patience: Duration) -> Option<String> {
        let Program { mut child, said, identity } = locked(&self.program).take()?;
        let text = said.recv_timeout(patience).ok();
        child.kill().ok();
        child.wait().ok();
        drop(identity);
        text.map(|text| plain(&text)).filter(|text| !text.is_empty())
    }

    /// What an error of the library means. The transport must be dropped by now, so that a program behind it can end.
    pub(super) fn explain(&self, error: &gix::Error) -> Explained {
        if let Some(text) = self.end_program(Duration::from_secs(1)) {
            self.blame(Cause::Said(text));
        }
        explain(&self.url, locked(&self.cause).clone(), error)
    }
}

/// Places for conversations: so many in all, and so many for one host.
pub(super) struct Places {
    all: Arc<Semaphore>,
    per_host: usize,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Places {
    pub(super) fn new(all: usize, per_host: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all.max(1))), per_host: per_host.max(1), hosts: Mutex::new(HashMap::new()) }
    }

    /// First the host's place, then one of all: who waits for a slow host takes none from the others.
    async fn take(&self, host: &str) -> Option<[OwnedSemaphorePermit; 2]> {
        let of_host = {
            let mut hosts = locked(&self.hosts);
            hosts.retain(|_, places| Arc::strong_count(places) > 1);
            Arc::clone(hosts.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.per_host))))
        };
        let host = of_host.acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some([host, all])
    }

    /// Runs a conversation in a thread of its own. The answer comes within `timeout`, whatever the thread does.
    pub(super) async fn run<T, W>(&self, url: &GitUrl, timeout: Duration, limit: u64, work: W) -> Result<T, Failure>
    where
        T: Send + 'static,
        W: FnOnce(&Arc<Operation>) -> Result<T, Failure> + Send + 'static,
    {
        let deadline = tokio::time::Instant::now() + timeout;
        let places = match tokio::time::timeout_at(deadline, self.take(url.host())).await {
            Ok(Some(places)) => places,
            Ok(None) => return Err(unreachable(url, "Skep is shutting down").into()),
            Err(_) => {
                let reason = format!("no place was free within {timeout:?}; other conversations are slow");
                return Err(unreachable(url, reason).into());
            }
        };
        let operation = Arc::new(Operation::new(url.clone(), limit));
        let mut thread = tokio::task::spawn_blocking({
            let operation = Arc::clone(&operation);
            move || {
                let result = work(&operation);
                operation.end_program(Duration::from_millis(100));
                result
            }
        });
        match tokio::time::timeout_at(deadline, &mut thread).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(unreachable(url, "its answer could not be read to the end").into()),
            Err(_) => {
                operation.stop();
                tokio::spawn(async move {
                    tokio::time::timeout(GRACE, thread).await.ok();
                    drop(places);
                });
                Err(unreachable(url, format!("no end within {timeout:?}")).into())
            }
        }
    }
}
