//! A running server, and the two ways to speak to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use skep::api::{ApiOptions, ApiParts, ApiState, Auth, Listen, bind, rest};
use skep::declare::{Declare, Limits};
use skep::domain::{
    Action, Change, Deployment, DeploymentId, DeploymentPhase, Digest, Environment, EnvironmentName, Kept, LastGood,
    ObjectKind, Pointer, Round, StackKey, StackName, StackStatus, TaskState, Wanted,
};
use skep::ledger::{Batch, Ledger};
use skep::ports::{
    Ambient, BoxFuture, BoxStream, Inquiries, InquiryError, LogLine, LogOf, LogQuery, LogSource, LogStream, NoLog,
    NoNotifiers, PlanAnswer, StepAnswer, TaskAnswer,
};
use skep::seal::KeyFile;
use skep::store::memory::MemoryStore;
use skep::telemetry::{Meters, Tracer};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

pub(crate) const TOKEN: &str = "the-token-of-these-tests";

pub(crate) const SHOP: &str = "\
kind: Stack
name: shop
source: { git: https://example.org/shop.git, ref: main }
variables: { KEY: { value: hunter2hunter2, secret: true } }
images: { web: \"1\" }
";

/// Ids that count up, and the real clock.
struct Counter(AtomicU64);

impl Ambient for Counter {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn new_id(&self) -> String {
        format!("{:026}", self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn random(&self) -> u64 {
        4
    }
}

/// Knows one plan.
struct OnePlan;

impl Inquiries for OnePlan {
    fn plan<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
    ) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        Box::pin(async move {
            if stack.name.as_str() == "no" {
                return Err(InquiryError::NotFound(format!("stack `{stack}`")));
            }
            let change = Change { path: "/x".into(), from: None, to: wanted.map(|wanted| wanted.0.clone().into()) };
            let step = StepAnswer {
                kind: ObjectKind::Service,
                name: format!("{}_web", stack.name),
                action: Action::Update,
                reason: format!("the image of {} changed", mark(stack)),
                changes: vec![change],
                wave: None,
                waits_for: Vec::new(),
            };
            Ok(PlanAnswer {
                digest: "d".into(),
                steps: vec![step],
                waiting: Vec::new(),
                warnings: Vec::new(),
                unchanged: 3,
                jobs: Vec::new(),
            })
        })
    }

    fn plan_images<'a>(
        &'a self,
        stack: &'a StackKey,
        wanted: Option<&'a Wanted>,
        images: &'a BTreeMap<String, String>,
    ) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        Box::pin(async move {
            let mut plan = self.plan(stack, wanted).await?;
            plan.warnings = images.iter().map(|(service, version)| format!("{service}={version}")).collect();
            Ok(plan)
        })
    }

    fn round(&self, environment: &EnvironmentName) -> Option<Round> {
        let (took, listing) = (Duration::from_millis(1500), Duration::from_millis(250));
        let known = *environment == EnvironmentName::default();
        known.then_some(Round { took, listing, at: Timestamp::UNIX_EPOCH, stacks: 7 })
    }

    fn tasks<'a>(&'a self, stack: &'a StackKey) -> BoxFuture<'a, Result<Vec<TaskAnswer>, InquiryError>> {
        Box::pin(async move {
            let task = TaskAnswer {
                id: "t1".into(),
                service: format!("{}_web", stack.name),
                slot: Some(2),
                node: Some("node-1".into()),
                state: TaskState::Failed,
                desired: TaskState::Shutdown,
                current: true,
                message: "no such image".into(),
                exit_code: Some(3),
                created_at: None,
                since: Some(Timestamp::UNIX_EPOCH),
            };
            Ok(vec![task])
        })
    }

    fn logs<'a>(
        &'a self,
        of: &'a LogOf,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<BoxStream<'static, LogLine>, InquiryError>> {
        Box::pin(async move {
            let what = match of {
                LogOf::Stack(key) if key.name.as_str() == "no" => {
                    return Err(InquiryError::NotFound(format!("stack `{key}`")));
                }
                LogOf::Deployment(id) => format!("deployment {id}"),
                LogOf::Stack(key) => format!("stack {}", mark(key)),
            };
            let time = query.since.unwrap_or("2026-01-31T12:00:00Z".parse().unwrap());
            let source = LogSource::Service {
                service: query.service.clone().unwrap_or("web".into()),
                task: Some("t1".into()),
                slot: Some(2),
                node: Some("node-1".into()),
            };
            let said = LogLine { time, source, stream: LogStream::Stderr, text: format!("{what}: {}", query.tail) };
            let step =
                LogLine { source: LogSource::Skep, stream: LogStream::Stdout, text: "a step".into(), ..said.clone() };
            let past = stream::iter([step, said]);
            Ok(if query.follow { past.chain(stream::pending()).boxed() } else { past.boxed() })
        })
    }
}

/// A word that stands in everything of a stack, and in nothing of another.
pub(crate) fn mark(key: &StackKey) -> String {
    format!("zq-{}-{}-qz", key.environment, key.name)
}

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) ledger: Ledger,
    pub(crate) ready: Arc<AtomicBool>,
    pub(crate) meters: Meters,
    pub(crate) address: String,
    pub(crate) http: reqwest::Client,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(ApiOptions::default()).await
    }

    /// A server with the environment `default`.
    pub(crate) async fn with(options: ApiOptions) -> Self {
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::new(store.clone());
        let environment = Environment {
            name: EnvironmentName::default(),
            endpoints: vec!["unix:///var/run/docker.sock".into()],
            ..Environment::default()
        };
        ledger.commit(Batch::new().put_environment(&environment)).await.unwrap();
        let ambient: Arc<dyn Ambient> = Arc::new(Counter(AtomicU64::new(0)));
        let sealer = Arc::new(KeyFile::from_bytes([7; 32]));
        let (ready, meters) = (Arc::new(AtomicBool::new(false)), Meters::new());
        let state = ApiState::new(ApiParts {
            declare: Declare::new(ledger.clone(), sealer, Arc::clone(&ambient), Limits::default()),
            ledger: ledger.clone(),
            inquiries: Arc::new(OnePlan),
            notifiers: Arc::new(NoNotifiers),
            log: Arc::new(NoLog),
            auth: Arc::new(Auth::with_token(TOKEN)),
            ambient,
            ready: Arc::clone(&ready),
            metrics: Arc::new(|| "# EOF\n".to_owned()),
            meters: meters.clone(),
            tracer: Tracer::default(),
            options,
        });
        let listen = Listen { address: ([127, 0, 0, 1], 0).into(), tls: None, workers: 1 };
        let bound = bind(listen, state, Arc::new(rest::routes)).unwrap();
        tokio::spawn(bound.server);
        let address = bound.address.to_string();
        Self { store, ledger, ready, meters, address, http: reqwest::Client::new() }
    }

    /// A server with the stack `shop`.
    pub(crate) async fn with_shop() -> Self {
        let world = Self::new().await;
        let applied = world.apply(SHOP).await;
        assert_eq!(applied["userErrors"], json!([]), "{applied}");
        world
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        let body = body.to_string();
        self.http.post(self.url("/graphql")).header("content-type", "application/json").body(body)
    }

    /// The whole answer.
    pub(crate) async fn ask(&self, query: &str, variables: Value) -> Value {
        self.ask_as(TOKEN, query, variables).await
    }

    /// The whole answer to the holder of this token.
    pub(crate) async fn ask_as(&self, token: &str, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables });
        let answer = self.post(&body).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    /// The data of an answer without errors.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        let answer = self.ask(query, variables).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"].clone()
    }

    /// What a mutation answers. `input` is its input, `kind` the type of that.
    pub(crate) async fn mutate(&self, name: &str, kind: &str, input: Value) -> Value {
        const PAYLOAD: &str = "stack { name generation deploymentId pin { versionOf reason } suspension { reason until } \
            deletion { keepRunning } requestedReconcile } deployment { id deploymentId phase trigger statedReason \
            originalRequest mappedRequest versionOf verdict actor } \
            userErrors { code message field file line column hint }";
        let query = format!("mutation M($input: {kind}!) {{ {name}(input: $input) {{ {PAYLOAD} }} }}");
        self.data(&query, json!({ "input": input })).await[name].clone()
    }

    pub(crate) async fn apply(&self, manifest: &str) -> Value {
        self.mutate("applyStack", "ApplyStackInput", json!({ "manifest": manifest, "file": "shop.yml" })).await
    }

    pub(crate) async fn deploy(&self, wanted: &str) -> Value {
        self.mutate("deployStack", "DeployStackInput", json!({ "stack": { "name": "shop" }, "ref": wanted })).await
    }

    pub(crate) fn deployment(&self, id: &str) -> Deployment {
        self.ledger.deployment(&DeploymentId(id.into())).unwrap().unwrap().value
    }

    /// Writes what a controller would when a deployment moves on.
    pub(crate) async fn move_on(&self, id: &str, phase: DeploymentPhase) {
        let mut deployment = self.deployment(id);
        deployment.phase = phase;
        self.ledger.commit(Batch::new().put_deployment(&deployment)).await.unwrap();
    }

    /// Writes what a controller would when a deployment has converged.
    pub(crate) async fn converge(&self, id: &str, version: &str) {
        let mut deployment = self.deployment(id);
        deployment.phase = DeploymentPhase::Converged;
        deployment.version.digest = Some(Digest::of(version.as_bytes()));
        deployment.kept = Some(Kept(version.to_owned()));
        let pointer = Pointer {
            revision: None,
            images: Vec::new(),
            followed: Default::default(),
            digest: deployment.version.digest.clone(),
            deployment: deployment.id.clone(),
            generation: deployment.generation,
        };
        let status = StackStatus {
            observed_generation: deployment.generation,
            attempt: Some(skep::domain::Attempt {
                id: deployment.id.clone(),
                phase: deployment.phase,
                trigger: deployment.origin.trigger,
                automatic_rollback: false,
            }),
            last_good: Some(LastGood { version: pointer, kept: Kept(version.into()), since: Timestamp::now() }),
            ..StackStatus::default()
        };
        self.ledger.commit(Batch::new().put_deployment(&deployment).put_status(&shop(), &status)).await.unwrap();
    }

    /// Waits until so many subscribers are counted.
    pub(crate) async fn until_subscribers(&self, wanted: u32) {
        let line = format!("skep_subscribers {wanted}");
        let told = || {
            let mut text = String::new();
            self.meters.write(&mut text).unwrap();
            text.lines().any(|it| it == line)
        };
        let until = async {
            // Nothing tells that a figure has changed.
            while !told() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), until).await.unwrap_or_else(|_| panic!("not `{line}`"));
    }

    /// A websocket that has been let in.
    pub(crate) async fn socket(&self) -> Socket {
        self.socket_as(TOKEN).await
    }

    /// A websocket that the holder of this token was let in by.
    pub(crate) async fn socket_as(&self, token: &str) -> Socket {
        self.bare_socket(&[]).await.unwrap().signed_in(token).await
    }

    /// A websocket that takes little before it is read.
    pub(crate) async fn narrow_socket(&self) -> Socket {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(4096).unwrap();
        let stream = tcp.connect(self.address.parse().unwrap()).await.unwrap();
        let mut request = format!("ws://{}/graphql", self.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        let stream = client_async(request, MaybeTlsStream::Plain(stream)).await.unwrap().0;
        Socket(stream).signed_in(TOKEN).await
    }

    /// A websocket on which nothing has been said.
    pub(crate) async fn bare_socket(&self, headers: &[(&'static str, &str)]) -> Result<Socket, tungstenite::Error> {
        let mut request = format!("ws://{}/graphql", self.address).into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Ok(Socket(connect_async(request).await?.0))
    }
}

pub(crate) fn shop() -> StackKey {
    StackKey { environment: EnvironmentName::default(), name: StackName::parse("shop").unwrap() }
}

pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn signed_in(mut self, token: &str) -> Self {
        let payload = json!({ "Authorization": format!("Bearer {token}") });
        self.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(self.next().await, json!({ "type": "connection_ack" }));
        self
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn send_raw(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.0.send(message).await
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(json!({ "id": id, "type": "subscribe", "payload": { "query": query } })).await;
    }

    /// The next message that is not about the connection itself.
    pub(crate) async fn next(&mut self) -> Value {
        match self.any().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The data of the next message of the one subscription.
    pub(crate) async fn data(&mut self) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], "next", "{message}");
        assert_eq!(message["payload"].get("errors"), None, "{message}");
        let data = message["payload"]["data"].as_object().unwrap();
        data.values().next().unwrap().clone()
    }

    /// The next message but pings; `None` at the end.
    pub(crate) async fn any(&mut self) -> Option<Message> {
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            match tokio::time::timeout_at(end, self.0.next()).await.expect("nothing came") {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Some(message),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(300), self.next()).await.is_err()
    }
}
