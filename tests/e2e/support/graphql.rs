//! A small GraphQL client. The selections of the API that the scenarios read stand here, and nowhere else.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What is read of a stack.
pub(crate) const STACK: &str = "name generation observedGeneration phase reason message deploymentId \
    conditions { type status reason message } desired { revision } target { revision } live { revision } \
    lastGood { deploymentId revision } held { deploymentId revision reason } pin { deploymentId }";

/// What is read of a deployment.
pub(crate) const DEPLOYMENT: &str = "deploymentId traceId generation trigger phase reason message revision rollbackOf rolledBackBy \
    images { service image digest } failure { class service slot node error exitCode logTail healthLog } \
    services { service waitsFor } jobs { service when direction phase exitCode logTail } createdAt finishedAt";

/// How a stack is named in arguments.
pub(crate) fn stack_ref(name: &str) -> Value {
    json!({ "name": name, "environment": "default" })
}

/// A value as a GraphQL literal, so that no document has to name the types of its variables.
pub(crate) fn literal(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {}", literal(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        scalar => scalar.to_string(),
    }
}

/// Something the API refused.
pub(crate) type UserErrors = Vec<Value>;

/// A client with a token.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    /// The span that its requests are below.
    parent: Option<String>,
    pub(crate) address: String,
    pub(crate) token: String,
}

impl Client {
    pub(crate) fn new(address: &str, token: &str) -> Self {
        // A connection that was idle while a test waited for docker may be gone: each request has its own.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { http, parent: None, address: address.to_owned(), token: token.to_owned() }
    }

    /// The same, whose requests are part of a trace: a `traceparent`.
    pub(crate) fn in_trace(self, parent: &str) -> Self {
        Self { parent: Some(parent.to_owned()), ..self }
    }

    /// The answer with its HTTP status, whatever it is; an error when none came.
    async fn try_ask(&self, document: &str) -> Result<(u16, Value), reqwest::Error> {
        let address = format!("http://{}/graphql", self.address);
        let mut asked = self.http.post(address).bearer_auth(&self.token).json(&json!({ "query": document }));
        if let Some(parent) = &self.parent {
            asked = asked.header("traceparent", parent);
        }
        let answer = asked.send().await?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.unwrap_or(Value::Null)))
    }

    /// The answer with its HTTP status, whatever it is.
    pub(crate) async fn ask(&self, document: &str) -> (u16, Value) {
        self.try_ask(document).await.unwrap()
    }

    /// A mutation that is sent again, under the same key, until it is acknowledged: the server may die over it.
    pub(crate) async fn insist(&self, mutation: &str, input: &Value) {
        let document =
            format!("mutation {{ {mutation}(input: {}) {{ userErrors {{ code message }} }} }}", literal(input));
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            match self.try_ask(&document).await {
                Ok((200, answer)) if answer["data"][mutation]["userErrors"] == json!([]) => return,
                Ok((200, answer)) if !answer.is_null() => panic!("{document}\n{answer:#}"),
                _ if Instant::now() < end => tokio::time::sleep(Duration::from_millis(50)).await,
                last => panic!("not acknowledged within a minute: {document}\n{last:?}"),
            }
        }
    }

    /// The data of a query.
    pub(crate) async fn query(&self, document: &str) -> Value {
        let (status, mut answer) = self.ask(document).await;
        assert!(status == 200 && answer.get("errors").is_none(), "{document}\n{status} {answer:#}");
        answer["data"].take()
    }

    /// The payload of a mutation, or its user errors.
    pub(crate) async fn mutate(&self, name: &str, input: &Value) -> Result<Value, UserErrors> {
        let input = literal(input);
        let document = format!(
            "mutation {{ {name}(input: {input}) {{ stack {{ {STACK} }} deployment {{ {DEPLOYMENT} }} \
             userErrors {{ code message field file line column hint }} }} }}"
        );
        let payload = self.query(&document).await[name].take();
        match payload["userErrors"].as_array() {
            Some(errors) if !errors.is_empty() => Err(errors.clone()),
            _ => Ok(payload),
        }
    }

    /// A mutation on a stack that must succeed. `more` is added to its input.
    pub(crate) async fn act(&self, mutation: &str, stack: &str, more: Value) -> Value {
        let mut input = json!({ "stack": stack_ref(stack) });
        if let (Some(input), Value::Object(more)) = (input.as_object_mut(), more) {
            input.extend(more);
        }
        self.mutate(mutation, &input).await.unwrap_or_else(|errors| panic!("{mutation} of {stack}: {errors:#?}"))
    }

    /// A stack as it stands; null when it is not there.
    pub(crate) async fn stack(&self, name: &str) -> Value {
        let document = format!("{{ stack(name: {name:?}, environment: \"default\") {{ {STACK} }} }}");
        self.query(&document).await["stack"].take()
    }

    /// All deployments of a stack, the newest first.
    pub(crate) async fn deployments(&self, stack: &str) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), Value::Null);
        loop {
            let document = format!(
                "{{ deployments(stack: {stack:?}, first: 100, after: {after}) {{ edges {{ node {{ {DEPLOYMENT} }} }} pageInfo {{ \
                 hasNextPage endCursor }} }} }}"
            );
            let mut page = self.query(&document).await["deployments"].take();
            all.extend(page["edges"].as_array_mut().expect("edges").iter_mut().map(|edge| edge["node"].take()));
            if page["pageInfo"]["hasNextPage"] != true {
                return all;
            }
            after = page["pageInfo"]["endCursor"].take();
        }
    }

    /// Types of a stack's events, the oldest first.
    pub(crate) async fn event_types(&self, stack: &str) -> Vec<String> {
        let document = format!("{{ events(stack: {stack:?}, first: 200) {{ edges {{ node {{ sequence type }} }} }} }}");
        let data = self.query(&document).await;
        let mut events: Vec<_> =
            data["events"]["edges"].as_array().expect("edges").iter().map(|it| &it["node"]).collect();
        events.sort_by_key(|it| it["sequence"].as_u64());
        events.iter().map(|it| it["type"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
