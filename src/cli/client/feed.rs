//! A subscription that outlives its connections.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Client;
use super::socket::{Over, Socket};
use crate::cli::exit::CliError;

/// The first wait before another try; it doubles up to [`LONGEST`], each with full jitter.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(5);

/// How often a server that was never there is tried again.
const TRIES: u32 = 3;

/// What a feed brings.
#[derive(Debug)]
pub(in crate::cli) enum News {
    /// A message: what the subscribed field holds.
    Data(Value),
    /// The connection is lost, and made again in a while.
    Lost(String),
    /// It is there again.
    Back,
}

/// Follows a subscription and resumes it from the last sequence that was seen. Ends when it is dropped.
pub(in crate::cli) struct Feed {
    news: mpsc::Receiver<Result<News, CliError>>,
    task: JoinHandle<()>,
}

impl Feed {
    pub(super) fn start(client: Client, field: &'static str, document: &'static str, variables: Value) -> Self {
        let (sender, news) = mpsc::channel(64);
        let follow = Follow { client, field, document, variables, sender, failures: 0, lost: false };
        Self { news, task: tokio::spawn(follow.run()) }
    }

    /// The next news. Nothing is lost when it is no longer waited for. An error is the last.
    pub(in crate::cli) async fn next(&mut self) -> Result<News, CliError> {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follow {
    client: Client,
    field: &'static str,
    document: &'static str,
    variables: Value,
    sender: mpsc::Sender<Result<News, CliError>>,
    /// Tries since something was heard.
    failures: u32,
    /// Whether it was said that the connection is lost.
    lost: bool,
}

impl Follow {
    async fn run(mut self) {
        loop {
            let why = match self.connection().await {
                Err(Over::Lost(why)) => why,
                Err(Over::Refused(error)) => return self.tell(Err(error)).await,
                Ok(()) => return,
            };
            // A server that was never there is said to be so; one that was there may come back.
            if !self.client.was_there() {
                if self.failures >= TRIES {
                    return self.tell(Err(self.client.gone(&why))).await;
                }
            } else if !self.lost {
                self.lost = true;
                self.tell(Ok(News::Lost(why))).await;
            }
            tokio::time::sleep(pause(self.failures)).await;
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// One connection, up to its end. `Ok` when nobody listens any more.
    async fn connection(&mut self) -> Result<(), Over> {
        let mut socket = Socket::open(&self.client, self.document, &self.variables).await?;
        if std::mem::take(&mut self.lost) {
            self.tell(Ok(News::Back)).await;
        }
        loop {
            let mut data = socket.next(&self.client).await?;
            self.client.is_there();
            self.failures = 0;
            let item = data.get_mut(self.field).map(Value::take).unwrap_or_default();
            if let Some(sequence) = item.get("sequence").filter(|sequence| sequence.is_u64())
                && let Some(variables) = self.variables.as_object_mut()
            {
                variables.insert("after".to_owned(), json!(sequence));
            }
            if self.sender.send(Ok(News::Data(item))).await.is_err() {
                return Ok(());
            }
        }
    }

    async fn tell(&self, news: Result<News, CliError>) {
        let _nobody = self.sender.send(news).await;
    }
}

/// How long to wait before the next try.
fn pause(failures: u32) -> Duration {
    let most = SHORTEST.saturating_mul(2_u32.saturating_pow(failures.min(10))).min(LONGEST);
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(fastrand::u64(most / 4..=most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_bounded() {
        for failures in 0..100 {
            let pause = pause(failures);
            assert!(pause >= SHORTEST / 4 && pause <= LONGEST, "{failures}: {pause:?}");
        }
        assert!(pause(20) >= LONGEST / 4);
    }
}
