//! The request that arrives for each type, to the last header and member.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::git_http::{GitServer, Repo};
use crate::receiver::{Act, Got, Receiver};
use crate::server::{BAD, SECRET, Server, TOKEN, stack};

/// A notifier of each type, each at an address of its own.
fn every_type(receiver: &str) -> String {
    let mut text = "kind: Credential\nname: key\ntype: Opaque\ndata: { secret: { fromEnv: SECRET } }\n---\n\
                    kind: Credential\nname: git\ntype: GitToken\nhosts: [127.0.0.1]\ndata: { token: { fromEnv: TOKEN } }\n"
        .to_owned();
    for (kind, credential) in [
        ("Slack", ""),
        ("Webhook", "key"),
        ("CloudEvents", "key"),
        ("GitHubStatus", "git"),
        ("GitHubDeployment", "git"),
        ("GitLabStatus", "git"),
        ("GitLabDeployment", "git"),
        ("GiteaStatus", "git"),
    ] {
        let name = kind.to_lowercase();
        text.push_str(&format!("---\nkind: Notifier\nname: {name}\ntype: {kind}\nurl: http://{receiver}/{kind}\n"));
        if !credential.is_empty() {
            text.push_str(&format!("credential: {credential}\n"));
        }
    }
    text
}

/// The failure of a deployment, as every type tells it.
struct Failure {
    receiver: Receiver,
    commit: String,
    deployment: Value,
}

impl Failure {
    fn of_a_server() -> (Self, TempDir, Server) {
        let folder = TempDir::new().unwrap();
        let repo = Repo::create(folder.path(), "team/shop");
        let commit = repo.commit("main", &[("docker-stack.yml", BAD)]);
        let git = GitServer::start(folder.path());
        let receiver = Receiver::start();
        receiver.script("/GitHubDeployment", &[Act::Body("[]"), Act::Body("{\"id\": 42}")]);
        receiver.script("/GitLabDeployment", &[Act::Body("[]")]);
        let server = Server::start(&folder.path().join("skep-data"), &["--allow-private-addresses"]);
        server.apply(&every_type(&receiver.address));
        server.apply(&stack(&git.base()));
        let deployment = server.deployment(|it| it["phase"] == "Failed");
        (Self { receiver, commit, deployment }, folder, server)
    }

    fn url(&self) -> String {
        format!("https://skep.example.org/deployments/{}", self.id())
    }

    fn id(&self) -> &str {
        self.deployment["id"].as_str().unwrap()
    }

    fn why(&self) -> &str {
        self.deployment["message"].as_str().unwrap()
    }

    fn trace(&self) -> &str {
        self.deployment["traceId"].as_str().unwrap()
    }

    fn what(&self) -> String {
        format!("default/shop: commit {} has failed", &self.commit[..12])
    }

    /// The one request that came to a type.
    fn one(&self, kind: &str) -> Got {
        let mut all = self.receiver.wait(&format!("/{kind}"), 1);
        assert_eq!(all.len(), 1, "{kind}: {all:?}");
        all.remove(0)
    }

    /// The message as JSON; what is made up on the way is taken from what came.
    fn message(&self, came: &Value) -> Value {
        for (made_up, least) in [("id", 32), ("time", 20), ("traceId", 32)] {
            assert!(came[made_up].as_str().is_some_and(|it| it.len() >= least), "{made_up}: {came}");
        }
        json!({
            "id": came["id"], "time": came["time"], "traceId": came["traceId"],
            "event": "Failed", "environment": "default", "stack": "shop", "deploymentId": self.id(),
            "revision": self.commit, "images": [], "trigger": "Api", "actor": "admin", "failure": "Render",
            "what": self.what(), "why": self.why(),
            "next": "Nothing was changed on the Swarm: what ran before runs on. Mend it, and deploy again.",
            "url": self.url(),
        })
    }
}

const SIGNED: [&str; 7] = [
    "accept",
    "content-type",
    "user-agent",
    "x-skep-delivery",
    "x-skep-event",
    "x-skep-signature-256",
    "x-skep-timestamp",
];

#[test]
fn a_failure_arrives_in_the_form_of_each_type() {
    let (failure, _folder, server) = Failure::of_a_server();
    slack(&failure);
    webhook_and_cloud_event(&failure);
    statuses(&failure);
    on_github(&failure);
    on_gitlab(&failure);
    for kind in ["slack", "webhook", "githubdeployment", "gitlabdeployment"] {
        let told = server.notifier(kind, |it| it["status"]["pending"] == 0);
        assert_eq!(told["status"]["delivered"], 1, "{told}");
    }
    for got in failure.receiver.all() {
        assert_eq!(got.header("user-agent"), concat!("skep/", env!("CARGO_PKG_VERSION")));
        assert!(!String::from_utf8_lossy(&got.body).contains("marked-"), "{got:?}");
    }
}

fn slack(failure: &Failure) {
    let got = failure.one("Slack");
    assert_eq!((got.method.as_str(), got.path.as_str()), ("POST", "/Slack"));
    assert_eq!(got.said(), ["accept", "content-type", "user-agent"]);
    assert_eq!(got.header("content-type"), "application/json");
    let (what, url, body) = (failure.what(), failure.url(), got.json());
    let section = |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
    assert_eq!(body["text"], format!("{what}: {}", failure.why()));
    assert_eq!(body["blocks"][0], section(format!(":x: <{url}|*{what}*>")));
    assert_eq!(body["blocks"][1], section(failure.why().to_owned()));
    assert_eq!((&body["blocks"][2]["type"], body["blocks"].as_array().unwrap().len()), (&json!("context"), 3));
    assert_eq!(body.as_object().unwrap().len(), 2);
}

fn webhook_and_cloud_event(failure: &Failure) {
    let (hook, event) = (failure.one("Webhook"), failure.one("CloudEvents"));
    for got in [&hook, &event] {
        assert_eq!((got.method.as_str(), got.said()), ("POST", SIGNED.to_vec()));
        assert!(got.is_signed_with(SECRET) && !got.is_signed_with("another"));
        assert_eq!(got.header("x-skep-event"), "Failed");
    }
    let came = hook.json();
    let mut wanted = failure.message(&came);
    wanted["instance"] = came["instance"].clone();
    wanted["sentAt"] = came["sentAt"].clone();
    assert_eq!((hook.path.as_str(), hook.header("content-type"), &came), ("/Webhook", "application/json", &wanted));
    assert_eq!(hook.header("x-skep-delivery"), came["id"].as_str().unwrap());
    let sent: jiff::Timestamp = came["sentAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(hook.header("x-skep-timestamp"), sent.as_second().to_string());

    assert_eq!(event.header("content-type"), "application/cloudevents+json; charset=utf-8");
    let (event, instance) = (event.json(), came["instance"].as_str().unwrap());
    let data = failure.message(&event["data"]);
    let wanted = json!({
        "specversion": "1.0", "id": event["data"]["id"], "source": format!("urn:skep:{instance}"),
        "type": "dev.skep.Failed", "subject": "default/shop", "time": came["time"],
        "datacontenttype": "application/json", "data": data,
    });
    assert_eq!(event, wanted);
}

/// A description as git hosts get it.
fn description(failure: &Failure) -> String {
    let whole = format!("failed: {}", failure.why());
    match whole.chars().count() {
        0..=99 => format!("{whole} · trace {}", failure.trace()),
        100..=140 => whole,
        _ => whole.chars().take(139).chain(['…']).collect(),
    }
}

fn statuses(failure: &Failure) {
    let commit = &failure.commit;
    let status = |state: &str| {
        json!({
            "state": state, "description": description(failure), "context": "skep/default/shop",
            "target_url": failure.url(),
        })
    };
    for (kind, path, state) in [
        ("GitHubStatus", format!("repos/team/shop/statuses/{commit}"), "failure"),
        ("GitLabStatus", format!("projects/team%2Fshop/statuses/{commit}"), "failed"),
        ("GiteaStatus", format!("repos/team/shop/statuses/{commit}"), "failure"),
    ] {
        let got = failure.one(kind);
        assert_eq!((got.method.as_str(), got.path.as_str()), ("POST", format!("/{kind}/{path}").as_str()));
        assert_eq!(got.json(), status(state), "{kind}");
        signs_in(&got);
    }
}

/// The token is where the host wants it, and nothing else is said in headers.
fn signs_in(got: &Got) {
    let name = if got.path.starts_with("/GitLab") { "private-token" } else { "authorization" };
    let value = match got.path.as_bytes() {
        [b'/', b'G', b'i', b't', b'L', ..] => TOKEN.to_owned(),
        [b'/', b'G', b'i', b't', b'e', ..] => format!("token {TOKEN}"),
        _ => format!("Bearer {TOKEN}"),
    };
    assert_eq!(got.header(name), value, "{}", got.path);
    let github = got.path.starts_with("/GitHub");
    let mut said = vec!["accept", name, "user-agent"];
    said.extend((got.method != "GET").then_some("content-type"));
    said.extend(github.then_some("x-github-api-version"));
    said.sort_unstable();
    assert_eq!(got.said(), said, "{}", got.path);
    if github {
        let versions = (got.header("accept"), got.header("x-github-api-version"));
        assert_eq!(versions, ("application/vnd.github+json", "2022-11-28"));
    }
}

fn on_github(failure: &Failure) {
    let got = failure.receiver.wait("/GitHubDeployment", 3);
    let deployments = "/GitHubDeployment/repos/team/shop/deployments";
    let (commit, id) = (&failure.commit, failure.id());
    let find = format!("?sha={commit}&environment=default%2Fshop&task=skep%3A{id}&per_page=1");
    let asked: Vec<(&str, &str)> = got.iter().map(|it| (it.method.as_str(), it.path.as_str())).collect();
    let (find, tell) = (format!("{deployments}{find}"), format!("{deployments}/42/statuses"));
    assert_eq!(asked, [("GET", find.as_str()), ("POST", deployments), ("POST", tell.as_str())]);
    got.iter().for_each(signs_in);
    let made = json!({
        "ref": commit, "task": format!("skep:{id}"), "environment": "default/shop", "auto_merge": false,
        "required_contexts": [], "description": failure.what(), "payload": { "traceId": failure.trace() },
    });
    let told = json!({ "state": "failure", "description": description(failure), "log_url": failure.url() });
    assert_eq!((got[1].json(), got[2].json()), (made, told));
}

fn on_gitlab(failure: &Failure) {
    let got = failure.receiver.wait("/GitLabDeployment", 2);
    let deployments = "/GitLabDeployment/projects/team%2Fshop/deployments";
    let newest = format!("{deployments}?environment=default%2Fshop&order_by=id&sort=desc&per_page=1");
    let asked: Vec<(&str, &str)> = got.iter().map(|it| (it.method.as_str(), it.path.as_str())).collect();
    assert_eq!(asked, [("GET", newest.as_str()), ("POST", deployments)]);
    got.iter().for_each(signs_in);
    let commit = &failure.commit;
    let made = json!({ "environment": "default/shop", "sha": commit, "ref": commit, "tag": false, "status": "failed" });
    assert_eq!(got[1].json(), made);
}

#[test]
fn a_deployment_that_gitlab_knows_is_moved_on() {
    let folder = TempDir::new().unwrap();
    let repo = Repo::create(folder.path(), "team/shop");
    let commit = repo.commit("main", &[("docker-stack.yml", BAD)]);
    let git = GitServer::start(folder.path());
    let receiver = Receiver::start();
    let known = format!("[{{\"id\": 7, \"sha\": \"{commit}\", \"status\": \"running\", \"deployable\": null}}]");
    receiver.script("/GitLabDeployment", &[Act::Body(known.leak())]);
    let server = Server::start(&folder.path().join("skep-data"), &["--allow-private-addresses"]);
    server.apply(&every_type(&receiver.address));
    server.apply(&stack(&git.base()));
    let moved = receiver.wait("/GitLabDeployment", 2).remove(1);
    let path = "/GitLabDeployment/projects/team%2Fshop/deployments/7";
    assert_eq!((moved.method.as_str(), moved.path.as_str()), ("PUT", path));
    assert_eq!(moved.json(), json!({ "status": "failed" }));
    signs_in(&moved);
}
