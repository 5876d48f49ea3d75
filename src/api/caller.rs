//! Who calls: signing in with a token, what it lets its holder do, and when that ends.

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, USER_AGENT};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use futures_util::stream::{BoxStream, Stream, StreamExt, once};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::ApiState;
use super::auth::{Auth, Unauthenticated};
use super::feed::{Feed, Signal};
use super::traced::Traced;
use crate::declare::{Ask, TOKEN_PREFIX, token_digest};
use crate::domain::{Actor, Grant, TokenName, Trigger, Way};
use crate::ledger::{Batch, Ledger};
use crate::ports::Ambient;
use crate::telemetry::Meters;

/// When a token was last used is written down at most so often for each.
const SPARINGLY: SignedDuration = SignedDuration::from_mins(10);
/// The longest sleep towards a token's end: the clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The caller of a request: a handler that takes one is not reached without a valid token.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// What the caller may do.
    pub grant: Arc<Grant>,
    /// Whether it is the command line, by its own word.
    pub is_cli: bool,
    /// Where the request stands in a trace.
    traced: Traced,
    /// The token; none for the admin of the data folder.
    token: Option<Shown>,
}

/// What was shown at the door.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    name: TokenName,
    id: String,
    expires_at: Option<Timestamp>,
}

impl Caller {
    /// The same, outside of the trace of the request.
    pub(super) fn untraced(self) -> Self {
        Self { traced: Traced::default(), ..self }
    }

    /// A request of this caller. The trigger says the way in.
    #[must_use]
    pub fn ask(&self, trigger: Trigger) -> Ask {
        let ask = Ask::new(self.actor.clone(), trigger);
        let via = if self.is_cli { Some(Way::Cli) } else { ask.via };
        Ask { grant: self.grant.as_ref().clone(), via, trace: self.traced.record(), ..ask }
    }
}

impl FromRequest for Caller {
    type Error = Unauthenticated;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let state = request.app_data::<Data<ApiState>>();
        ready(state.ok_or(Unauthenticated).and_then(|state| state.door().request(request)))
    }
}

/// Lets callers in. Cheap to clone.
#[derive(Clone)]
pub(super) struct Door {
    auth: Arc<Auth>,
    ledger: Ledger,
    ambient: Arc<dyn Ambient>,
    feed: Feed,
    meters: Meters,
    /// When each token's use was last written down.
    used: Arc<Mutex<HashMap<TokenName, Timestamp>>>,
}

impl Door {
    pub(super) fn new(
        auth: Arc<Auth>,
        (ledger, ambient): (Ledger, Arc<dyn Ambient>),
        feed: Feed,
        meters: Meters,
    ) -> Self {
        Self { auth, ledger, ambient, feed, meters, used: Arc::default() }
    }

    /// Who sends this request.
    pub(super) fn request(&self, request: &HttpRequest) -> Result<Caller, Unauthenticated> {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let is_cli = text(USER_AGENT).is_some_and(|agent| agent.starts_with("skep/"));
        Ok(Caller { is_cli, traced: Traced::of(request), ..self.bearer(text(AUTHORIZATION))? })
    }

    /// Who shows `Bearer TOKEN`.
    pub(super) fn bearer(&self, header: Option<&str>) -> Result<Caller, Unauthenticated> {
        if let Ok(actor) = self.auth.bearer(header) {
            return Ok(Caller {
                actor,
                grant: Arc::new(Grant::everything()),
                is_cli: false,
                traced: Traced::default(),
                token: None,
            });
        }
        let (scheme, token) = header.and_then(|text| text.trim().split_once(' ')).ok_or(Unauthenticated)?;
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || !token.starts_with(TOKEN_PREFIX) {
            return Err(Unauthenticated);
        }
        // Found by a digest of what only its holder knows: how long that takes says nothing about another token.
        let found = self.ledger.token_of(&token_digest(token)).map_err(|cause| {
            tracing::error!(error = %cause, "a token cannot be looked up");
            Unauthenticated
        })?;
        let now = self.ambient.now();
        let token = found.filter(|token| !token.has_expired(now)).ok_or(Unauthenticated)?;
        self.note_use(&token.name, now);
        Ok(Caller {
            actor: Actor::new(token.name.to_string()),
            grant: Arc::new(token.grant),
            is_cli: false,
            traced: Traced::default(),
            token: Some(Shown { name: token.name, id: token.id, expires_at: token.expires_at }),
        })
    }

    /// Whether the caller would still be let in: a connection may outlive its token.
    pub(super) fn still(&self, caller: &Caller) -> Result<(), Unauthenticated> {
        let Some(shown) = &caller.token else { return Ok(()) };
        let now = self.ambient.now();
        match self.ledger.token(&shown.name) {
            Ok(Some(found)) if found.value.id == shown.id && !found.value.has_expired(now) => Ok(()),
            _ => Err(Unauthenticated),
        }
    }

    /// Writes down that a token is in use, in the background and not each time.
    fn note_use(&self, name: &TokenName, now: Timestamp) {
        let recent = |at: &Timestamp| now.duration_since(*at) < SPARINGLY;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.get(name).is_some_and(recent) {
            return;
        }
        used.insert(name.clone(), now);
        if self.ledger.token_used(name).is_ok_and(|at| at.as_ref().is_some_and(recent)) {
            return;
        }
        let (ledger, name) = (self.ledger.clone(), name.clone());
        tokio::spawn(async move {
            // A token that is revoked in between must leave nothing behind.
            let found = match ledger.token(&name) {
                Ok(Some(found)) => found,
                _ => return,
            };
            let key = crate::ledger::RecordKey::Token(name.clone());
            let batch = Batch::new().expect(&key, Some(found.revision)).put_token_used(&name, now);
            if let Err(error) = ledger.commit(batch).await {
                tracing::warn!(%error, token = %name, "the use of a token was not written down");
            }
        });
    }

    /// The stream for as long as the caller's token holds; then one error, and its end.
    pub(super) fn while_let_in<T: Send + 'static>(
        &self,
        caller: &Caller,
        refusal: impl FnOnce() -> T + Send + 'static,
        stream: impl Stream<Item = T> + Send + 'static,
    ) -> BoxStream<'static, T> {
        // Subscribed before the first item: a revocation from now on is heard.
        let ended = self.ended(caller.clone(), self.feed.subscribe());
        let told = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mark = Arc::clone(&told);
        let ended = async move {
            ended.await;
            mark.store(true, std::sync::atomic::Ordering::Release);
        };
        let last = once(async move { told.load(std::sync::atomic::Ordering::Acquire).then(refusal) });
        let counted = self.meters.subscriber();
        let stream = stream.take_until(ended).chain(last.filter_map(std::future::ready));
        stream.inspect(move |_| _ = &counted).boxed()
    }

    /// Completes when the caller's token holds no more.
    fn ended(
        &self,
        caller: Caller,
        mut signals: broadcast::Receiver<Signal>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let door = self.clone();
        async move {
            let Some(shown) = &caller.token else { return std::future::pending().await };
            while door.still(&caller).is_ok() {
                let left = shown.expires_at.map(|end| end.duration_since(door.ambient.now()));
                let left = left.and_then(|left| Duration::try_from(left).ok()).unwrap_or(LONGEST_SLEEP);
                tokio::select! {
                    () = tokio::time::sleep(left.min(LONGEST_SLEEP)) => {}
                    () = token_signal(&mut signals) => {}
                }
            }
        }
    }
}

/// Waits until some token changed, or that cannot be told.
async fn token_signal(signals: &mut broadcast::Receiver<Signal>) {
    loop {
        match signals.recv().await {
            Ok(Signal::Touched(touched)) if !touched.tokens => {}
            Err(RecvError::Closed) => return std::future::pending().await,
            _ => return,
        }
    }
}
