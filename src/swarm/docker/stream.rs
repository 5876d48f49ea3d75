//! What goes on for long: events, read by bollard.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::errors::Error as BollardError;
use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptions;
use futures_util::stream::{self, StreamExt};
use hyper::Method;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::classify::Call;
use super::session::{Session, Sessions};
use super::transport::{Accepted, Failure};
use crate::ports::{BoxStream, SwarmError, SwarmEvent, WatchedKind};

type Messages = BoxStream<'static, Result<EventMessage, BollardError>>;

/// Events from now on. Ends with an error, and tells the sessions of it.
pub(super) async fn events(
    sessions: Arc<Sessions>,
    session: Arc<Session>,
) -> Result<BoxStream<'static, Result<SwarmEvent, SwarmError>>, SwarmError> {
    // An engine accepts the request a moment before it listens to itself; so it is asked to begin with the second in
    // which we asked, by its own clock. An event told twice is a second look, no more.
    let since = session.clock().await?;
    let messages = open(&session, since).await?;
    let watch = Watch { sessions, session, messages, over: false };
    Ok(stream::unfold(watch, Watch::next).boxed())
}

async fn open(session: &Session, since: Option<Timestamp>) -> Result<Messages, SwarmError> {
    let accepted = Arc::new(Notify::new());
    let note = Accepted(Arc::clone(&accepted));
    let docker = session.docker.clone().with_request_modifier(move |mut request| {
        request.extensions_mut().insert(note.clone());
        request
    });
    let types = ["service", "network", "config", "secret", "node"].map(str::to_owned).to_vec();
    let filters = HashMap::from([("scope".to_owned(), vec!["swarm".to_owned()]), ("type".to_owned(), types)]);
    let since = since.map(|time| time.as_second().to_string());
    let mut messages = docker.events(Some(EventsOptions { since, until: None, filters: Some(filters) })).boxed();

    let call = session.call_about(&Method::GET, "the event stream");
    let timeout = session.transport.options.call_timeout;
    let begun = async {
        tokio::select! {
            biased;
            first = messages.next() => Some(first),
            () = accepted.notified() => None,
        }
    };
    match tokio::time::timeout(timeout, begun).await {
        Ok(None) => Ok(messages),
        Ok(Some(Some(Ok(first)))) => Ok(stream::iter([Ok(first)]).chain(messages).boxed()),
        Ok(Some(Some(Err(error)))) => Err(call.bollard(&error)),
        Ok(Some(None)) => Err(ended(&call)),
        Err(_) => Err(Failure::Silent("no event stream in time".to_owned()).at(session.endpoint())),
    }
}

fn ended(call: &Call<'_>) -> SwarmError {
    Failure::Silent("the event stream has ended".to_owned()).at(call.endpoint)
}

struct Watch {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    messages: Messages,
    over: bool,
}

impl Watch {
    async fn next(mut self) -> Option<(Result<SwarmEvent, SwarmError>, Self)> {
        if self.over {
            return None;
        }
        let idle = self.session.transport.options.idle_check;
        let error = loop {
            let call = self.session.call_about(&Method::GET, "the event stream");
            match tokio::time::timeout(idle, self.messages.next()).await {
                Ok(Some(Ok(message))) => {
                    if let Some(event) = event(message) {
                        return Some((Ok(event), self));
                    }
                }
                Ok(Some(Err(error))) => break call.bollard(&error),
                Ok(None) => break ended(&call),
                // Silence may be peace, a dead connection, or an engine that is no manager any more and hears nothing.
                Err(_) => {
                    if let Err(error) = self.session.info().await {
                        break error;
                    }
                }
            }
        };
        self.over = true;
        self.sessions.note(&self.session, &error).await;
        Some((Err(error), self))
    }
}

fn event(message: EventMessage) -> Option<SwarmEvent> {
    let kind = match message.typ? {
        EventMessageTypeEnum::SERVICE => WatchedKind::Service,
        EventMessageTypeEnum::NETWORK => WatchedKind::Network,
        EventMessageTypeEnum::CONFIG => WatchedKind::Config,
        EventMessageTypeEnum::SECRET => WatchedKind::Secret,
        EventMessageTypeEnum::NODE => WatchedKind::Node,
        _ => return None,
    };
    let actor = message.actor?;
    let removed = matches!(message.action.as_deref(), Some("remove" | "destroy" | "delete"));
    let name = actor.attributes.unwrap_or_default().remove("name").filter(|name| !name.is_empty());
    Some(SwarmEvent { kind, id: actor.id?, name, removed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_an_object_is_none() {
        assert_eq!(event(EventMessage::default()), None);
    }
}
