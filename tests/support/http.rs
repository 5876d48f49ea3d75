//! A running server on a store in memory, and a caller that holds every answer against `swagger/swagger.yaml`.

#![expect(missing_docs, reason = "a test's own tools")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use serde_json::{Value, json};
use skep::api::{ApiOptions, ApiParts, ApiState, Auth, Listen, bind, hooks, rest};
use skep::declare::{Declare, Limits};
use skep::domain::{Deployment, DeploymentId, Environment, EnvironmentName, StackKey, StackName, Wanted};
use skep::ledger::{Batch, Ledger};
use skep::ports::{
    Ambient, BoxFuture, BoxStream, Inquiries, InquiryError, LogLine, LogOf, LogQuery, LogSource, LogStream, NoLog,
    NoNotifiers, PlanAnswer,
};
use skep::seal::KeyFile;
use skep::store::memory::MemoryStore;
use skep::telemetry::{Meters, Tracer};
use tokio::sync::mpsc;

pub const TOKEN: &str = "the-token-of-these-tests";

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

/// Gives the same log for each deployment, or the error that was put in. One that is followed goes on with what is sent.
#[derive(Default)]
pub struct Logs {
    pub error: Mutex<Option<InquiryError>>,
    pub asked: Mutex<Vec<LogQuery>>,
    /// Of each log that is followed: closed when nobody reads it any more.
    pub followed: Mutex<Vec<mpsc::UnboundedSender<LogLine>>>,
}

/// A line of the first task of `web`.
pub fn line(text: String) -> LogLine {
    let source = LogSource::Service {
        service: "web".into(),
        task: Some("t1".into()),
        slot: Some(1),
        node: Some("node-1".into()),
    };
    LogLine { time: Timestamp::UNIX_EPOCH, source, stream: LogStream::Stdout, text }
}

impl Inquiries for Logs {
    fn plan<'a>(&'a self, _: &'a StackKey, _: Option<&'a Wanted>) -> BoxFuture<'a, Result<PlanAnswer, InquiryError>> {
        Box::pin(async { Err(InquiryError::Busy) })
    }

    fn logs<'a>(
        &'a self,
        of: &'a LogOf,
        query: &'a LogQuery,
    ) -> BoxFuture<'a, Result<BoxStream<'static, LogLine>, InquiryError>> {
        Box::pin(async move {
            if let Some(error) = self.error.lock().unwrap().clone() {
                return Err(error);
            }
            self.asked.lock().unwrap().push(query.clone());
            let id = match of {
                LogOf::Deployment(id) => id.to_string(),
                LogOf::Stack(key) => key.to_string(),
            };
            let past = stream::iter([line(format!("{id} says hello")), line(format!("{} lines", query.tail))]);
            if !query.follow {
                return Ok(past.boxed());
            }
            let (sender, live) = mpsc::unbounded_channel();
            self.followed.lock().unwrap().push(sender);
            let live = stream::unfold(live, |mut live| async move { Some((live.recv().await?, live)) });
            Ok(past.chain(live).boxed())
        })
    }
}

pub struct World {
    pub store: Arc<MemoryStore>,
    pub ledger: Ledger,
    pub logs: Arc<Logs>,
    pub address: String,
    pub http: reqwest::Client,
    pub document: Document,
}

/// An answer that was found to be as documented.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    /// A server with the environments `default` and `prod`.
    pub async fn new() -> Self {
        Self::with(ApiOptions::default()).await
    }

    /// As [`World::new`], out of the ordinary.
    pub async fn with(options: ApiOptions) -> Self {
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::new(Arc::clone(&store) as Arc<_>);
        for name in ["default", "prod"] {
            let name = EnvironmentName::parse(name).unwrap();
            let environment =
                Environment { name, endpoints: vec!["unix:///var/run/docker.sock".into()], ..Environment::default() };
            ledger.commit(Batch::new().put_environment(&environment)).await.unwrap();
        }
        let ambient: Arc<dyn Ambient> = Arc::new(Counter(AtomicU64::new(0)));
        let logs = Arc::new(Logs::default());
        let sealer = Arc::new(KeyFile::from_bytes([7; 32]));
        let state = ApiState::new(ApiParts {
            declare: Declare::new(ledger.clone(), sealer, Arc::clone(&ambient), Limits::default()),
            ledger: ledger.clone(),
            inquiries: Arc::clone(&logs) as Arc<_>,
            notifiers: Arc::new(NoNotifiers),
            log: Arc::new(NoLog),
            auth: Arc::new(Auth::with_token(TOKEN)),
            ambient,
            ready: Arc::new(AtomicBool::new(true)),
            metrics: Arc::new(|| "# EOF\n".to_owned()),
            meters: Meters::new(),
            tracer: Tracer::default(),
            options,
        });
        let listen = Listen { address: ([127, 0, 0, 1], 0).into(), tls: None, workers: 1 };
        let more = Arc::new(|config: &mut actix_web::web::ServiceConfig| {
            rest::routes(config);
            hooks::routes(config);
        });
        let bound = bind(listen, state, more).unwrap();
        tokio::spawn(bound.server);
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let document = Document::read();
        Self { store, ledger, logs, address: bound.address.to_string(), http, document }
    }

    /// A request with the token.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, format!("http://{}{path}", self.address)).bearer_auth(TOKEN)
    }

    /// Sends a request; the answer has to be as documented, and so has the body, when it is taken.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let body = request.body().and_then(reqwest::Body::as_bytes).map(<[u8]>::to_vec);
        let answer = self.http.execute(request).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        assert!(headers.contains_key("x-request-id"), "{method} {path}");
        let answer = Answer { status, headers, text: answer.text().await.unwrap() };
        self.document.check(&method, &path, body.as_deref(), &answer);
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// Sends JSON.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.send(self.request(method, path).header("content-type", "application/json").body(body.to_string())).await
    }

    /// Declares a stack over git.
    pub async fn declare(&self, name: &str) -> Value {
        let answer = self.call("POST", "/api/v1/stacks", &stack(name)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()
    }

    /// Records a manifest of any kind.
    pub async fn apply(&self, manifest: &str) {
        let query = "mutation M($input: ApplyStackInput!) { applyStack(input: $input) { userErrors { message } } }";
        let body = json!({ "query": query, "variables": { "input": { "manifest": manifest } } });
        let answer = self.call("POST", "/graphql", &body).await;
        assert_eq!(answer.json(), json!({ "data": { "applyStack": { "userErrors": [] } } }));
    }

    /// What is said of a manifest that is not taken.
    pub async fn refused(&self, manifest: &str) -> String {
        let query = "mutation M($input: ApplyStackInput!) { applyStack(input: $input) { userErrors { message } } }";
        let body = json!({ "query": query, "variables": { "input": { "manifest": manifest } } });
        let answer = self.call("POST", "/graphql", &body).await.json();
        let errors = answer["data"]["applyStack"]["userErrors"].as_array().cloned().unwrap_or_default();
        assert!(!errors.is_empty(), "it was taken: {manifest}");
        Value::Array(errors).to_string()
    }

    /// A deployment with the request as it came in.
    pub fn deployment(&self, id: &Value) -> Deployment {
        let found = self.ledger.deployment(&DeploymentId(id.as_str().unwrap().to_owned())).unwrap();
        let mut deployment = found.unwrap().value;
        skep::ledger::open_request(&mut deployment.origin, &KeyFile::from_bytes([7; 32]));
        deployment
    }
}

/// A stack over git, as a manifest.
pub fn stack(name: &str) -> Value {
    json!({ "kind": "Stack", "name": name, "source": { "git": "https://example.org/shop.git", "ref": "main" } })
}

pub fn key(name: &str) -> StackKey {
    StackKey { environment: EnvironmentName::default(), name: StackName::parse(name).unwrap() }
}

/// `swagger/swagger.yaml`.
pub struct Document(Value);

impl Document {
    pub fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/swagger/swagger.yaml");
        Self(serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// Every method and path that is documented.
    pub fn calls(&self) -> BTreeSet<(String, String)> {
        let mut calls = BTreeSet::new();
        for (path, item) in self.0["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                calls.insert((method.to_uppercase(), path.clone()));
            }
        }
        calls
    }

    /// The headers that a call is documented to take, in small letters.
    pub fn headers(&self, method: &str, path: &str) -> BTreeSet<String> {
        let parameters = self.call(method, path).map(|call| &call["parameters"]).and_then(Value::as_array);
        let headers = parameters.into_iter().flatten().filter(|it| it["in"] == "header");
        headers.map(|it| it["name"].as_str().unwrap().to_lowercase()).collect()
    }

    /// The codes of problems that are documented.
    pub fn codes(&self) -> Vec<String> {
        serde_json::from_value(self.0["components"]["schemas"]["Code"]["enum"].clone()).unwrap()
    }

    fn call(&self, method: &str, path: &str) -> Option<&Value> {
        let fits = |template: &str| {
            let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
            let same = |(a, b): (&&str, &&str)| a == b || (a.starts_with('{') && !b.is_empty());
            template.len() == path.len() && template.iter().zip(&path).all(same)
        };
        let paths = self.0["paths"].as_object().unwrap();
        let exact = paths.get(path).or_else(|| paths.iter().find(|(template, _)| fits(template)).map(|(_, item)| item));
        exact?.get(method.to_lowercase())
    }

    fn resolve<'d>(&'d self, value: &'d Value) -> &'d Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(name) => {
                let found = self.0.pointer(name.strip_prefix('#').unwrap());
                self.resolve(found.unwrap_or_else(|| panic!("{name} is not there")))
            }
            None => value,
        }
    }

    fn check(&self, method: &str, path: &str, body: Option<&[u8]>, answer: &Answer) {
        let what = format!("{method} {path} -> {}: {}", answer.status, answer.text);
        let Some(call) = self.call(method, path) else {
            assert!(matches!(answer.status, 404 | 405), "not documented: {what}");
            return;
        };
        let documented = call["responses"].get(answer.status.to_string());
        let documented = self.resolve(documented.unwrap_or_else(|| panic!("no such answer is documented: {what}")));
        for header in documented.get("headers").and_then(Value::as_object).into_iter().flat_map(|it| it.keys()) {
            assert!(!answer.header(header).is_empty(), "without {header}: {what}");
        }
        if let Some(content) = documented.get("content").and_then(Value::as_object) {
            let kind = answer.header("content-type").split(';').next().unwrap();
            let media = content.get(kind).unwrap_or_else(|| panic!("{kind} is not documented: {what}"));
            let value = if kind.ends_with("json") { answer.json() } else { answer.text.clone().into() };
            self.fits(&media["schema"], &value, "$").unwrap_or_else(|why| panic!("{why}\n{what}"));
        }
        if (200..300).contains(&answer.status) {
            let schema = &call["requestBody"]["content"]["application/json"]["schema"];
            if let (Some(body), false) = (body, schema.is_null()) {
                let body = serde_json::from_slice(body).unwrap();
                self.fits(schema, &body, "body").unwrap_or_else(|why| panic!("{why}\n{what}"));
            }
        }
    }

    /// Whether a value is of a schema: the words of JSON Schema that the document uses, and none is skipped.
    pub fn fits(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        if *schema == Value::Bool(true) {
            return Ok(());
        }
        let nothing = Value::Null;
        let properties = schema.get("properties").unwrap_or(&nothing);
        for (word, rule) in schema.as_object().ok_or_else(|| format!("{at}: no schema"))? {
            let good = match word.as_str() {
                "description" | "default" | "properties" => true,
                "$ref" => {
                    self.fits(self.resolve(schema), value, at)?;
                    true
                }
                "type" => match rule {
                    Value::Array(any) => any.iter().any(|kind| is(kind.as_str().unwrap(), value)),
                    kind => is(kind.as_str().unwrap(), value),
                },
                "enum" => rule.as_array().unwrap().contains(value),
                "const" => rule == value,
                "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
                "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= rule.as_u64().unwrap()),
                "maxLength" => value.as_str().is_none_or(|text| text.len() as u64 <= rule.as_u64().unwrap()),
                "format" => {
                    assert_eq!(rule, "date-time");
                    value.as_str().is_none_or(|text| text.parse::<Timestamp>().is_ok() && text.ends_with('Z'))
                }
                "required" => {
                    let has = |name: &Value| value.get(name.as_str().unwrap()).is_some();
                    !value.is_object() || rule.as_array().unwrap().iter().all(has)
                }
                "oneOf" => {
                    let fitting = rule.as_array().unwrap().iter().filter(|it| self.fits(it, value, at).is_ok());
                    fitting.count() == 1
                }
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.fits(rule, item, &format!("{at}[{n}]"))?;
                    }
                    true
                }
                "additionalProperties" => {
                    let known = |name: &str| properties.get(name).is_some();
                    for (name, item) in value.as_object().into_iter().flatten().filter(|(name, _)| !known(name)) {
                        match rule {
                            Value::Bool(false) => return Err(format!("{at}.{name} is not documented")),
                            schema => self.fits(schema, item, &format!("{at}.{name}"))?,
                        }
                    }
                    true
                }
                other => panic!("{at}: this check does not know `{other}`"),
            };
            if !good {
                return Err(format!("{at}: {value} does not fit `{word}: {rule}`"));
            }
        }
        for (name, schema) in properties.as_object().into_iter().flatten() {
            if let Some(item) = value.get(name) {
                self.fits(schema, item, &format!("{at}.{name}"))?;
            }
        }
        Ok(())
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no type `{other}`"),
    }
}
