//! What is known of an environment's connection: written whenever it changes, with the lines of the log about it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::environment::{Connection, Observed};
use super::glance::Glance;
use super::queue::Priority;
use super::shared::Shared;
use crate::domain::{Claim, EnvironmentStatus, Event, EventType};
use crate::ledger::{Batch, LedgerError};

/// Writes what is known of the connection whenever it changes, glances at all stacks, and has those looked at that are not
/// as they were.
pub(super) async fn report(shared: Arc<Shared>, environment: Arc<Observed>, cancel: CancellationToken) {
    let mut connections: watch::Receiver<Connection> = environment.connections();
    loop {
        if let Err(error) = write_status(&shared, &environment).await {
            tracing::warn!(environment = %environment.name, %error, "the environment's status could not be written");
        }
        let all = shared.ledger.stack_keys(&environment.name).unwrap_or_default();
        environment.rounds.queued(&all, shared.ambient.now());
        let glance = Glance::at(&environment);
        for key in all {
            let rests = |glance| environment.at_rest.holds(glance, &shared.ledger, &key).unwrap_or(false);
            if glance.as_ref().is_some_and(rests) {
                environment.rounds.looked(&key, shared.ambient.now());
            } else {
                environment.queue.add(&key, Instant::now(), Priority::Resync);
            }
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            changed = connections.changed() => if changed.is_err() { return },
        }
    }
}

async fn write_status(shared: &Shared, environment: &Observed) -> Result<(), LedgerError> {
    let now = shared.ambient.now();
    let before = shared.ledger.environment_status(&environment.name)?.map(|found| found.value);
    let connection = environment.connection();
    let claim = environment.claim();
    let (connected, message, info) = match connection {
        Connection::Unknown => return Ok(()),
        Connection::Connected(info) => (true, None, Some(info)),
        Connection::Lost(error) => (false, Some(error.to_string()), None),
    };
    let since = before.as_ref().filter(|before| before.connected == connected).map_or(now, |before| before.since);
    let status = EnvironmentStatus {
        connected,
        since,
        message: message.clone(),
        engine: info.as_ref().map(|info| info.engine.clone()),
        api: info.as_ref().map(|info| info.api.clone()),
        nodes: environment.snapshot().nodes.len() as u64,
        claim,
        handled_claim: environment.handled_claim().or_else(|| before.as_ref()?.handled_claim.clone()),
    };
    if before.as_ref() == Some(&status) {
        return Ok(());
    }
    let mut batch = Batch::new().put_environment_status(&environment.name, &status);
    let event = |kind, reason: &str, message: String| Event {
        time: now,
        kind,
        environment: environment.name.clone(),
        stack: None,
        deployment: None,
        reason: reason.to_owned(),
        message,
        actor: "controller".into(),
        via: None,
    };
    if before.as_ref().is_none_or(|before| before.connected != connected) {
        batch = batch.event(&match message {
            None => event(EventType::EnvironmentConnected, "Connected", "the engine answers".into()),
            Some(why) => event(EventType::EnvironmentDisconnected, "EngineUnreachable", why),
        });
    }
    if before.is_none_or(|before| before.claim != status.claim) {
        batch = match &status.claim {
            Claim::Unknown => batch,
            Claim::Ours(epoch) => {
                let text = format!("this Skep holds the environment (epoch {epoch})");
                batch.event(&event(EventType::EnvironmentClaimed, "Claimed", text))
            }
            Claim::Foreign { instance, epoch } => {
                let text = format!("Skep {instance} holds the environment (epoch {epoch}); this one only observes");
                batch.event(&event(EventType::EnvironmentForeign, "Foreign", text))
            }
        };
    }
    shared.ledger.commit(batch).await?;
    Ok(())
}
