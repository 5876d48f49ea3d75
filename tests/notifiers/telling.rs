//! What is told, in order and after a kill, and trying a notifier out.

use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::git_http::{GitServer, Repo};
use crate::receiver::{Act, Receiver};
use crate::server::{BAD, SECRET, Server, TOKEN, stack};

fn manifest(receiver: &str) -> String {
    format!(
        "kind: Credential\nname: key\ntype: Opaque\ndata: {{ secret: {{ fromEnv: SECRET }} }}\n---\n\
         kind: Credential\nname: git\ntype: GitToken\nhosts: [127.0.0.1]\ndata: {{ token: {{ fromEnv: TOKEN }} }}\n---\n\
         kind: Notifier\nname: hook\ntype: Webhook\nurl: http://{receiver}/hook\ncredential: key\n---\n\
         kind: Notifier\nname: team\ntype: Slack\nurl: http://{receiver}/slack/marked-part\n---\n\
         kind: Notifier\nname: events\ntype: CloudEvents\nurl: http://{receiver}/events\n---\n\
         kind: Notifier\nname: dead\ntype: CloudEvents\nurl: http://{receiver}/dead\n---\n\
         kind: Notifier\nname: other\ntype: CloudEvents\nurl: http://{receiver}/other\nstacks: [blog]\n---\n\
         kind: Notifier\nname: commits\ntype: GiteaStatus\nurl: http://{receiver}/api/v1\ncredential: git\n"
    )
}

#[test]
fn a_server_tells_of_a_failure_in_every_form_and_after_a_kill_under_the_same_id() {
    let folder = TempDir::new().unwrap();
    let repo = Repo::create(folder.path(), "team/shop");
    let commit = repo.commit("main", &[("docker-stack.yml", BAD)]);
    let git = GitServer::start(folder.path());
    let receiver = Receiver::start();
    let data = folder.path().join("skep-data");
    let server = Server::start(&data, &["--allow-private-addresses"]);
    // Two answers that are no yes, then one that does not come: the server is killed while it waits for it.
    let wait = Act::Answer("429 Too Many Requests", "retry-after: 2\r\n");
    receiver.script("/hook", &[Act::Answer("500 Internal Server Error", ""), wait, Act::Hang]);
    receiver.script("/dead", &[Act::Hang; 50]);
    server.apply(&manifest(&receiver.address));
    server.apply(&stack(&git.base()));

    let hook = receiver.wait("/hook", 3);
    assert!(hook[2].at - hook[1].at >= Duration::from_secs(2), "it waits as it was asked to");
    let slack = receiver.wait("/slack", 1).remove(0);
    assert_eq!(slack.path, "/slack/marked-part");
    let blocks = slack.json()["blocks"].to_string();
    assert!(blocks.contains("has failed") && blocks.contains("<https://skep.example.org/deployments/"), "{blocks}");
    let event = receiver.wait("/events", 1).remove(0);
    assert_eq!(event.header("content-type"), "application/cloudevents+json; charset=utf-8");
    let event = event.json();
    assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("dev.skep.Failed")));
    assert_eq!((&event["subject"], &event["data"]["failure"]), (&json!("default/shop"), &json!("Render")));
    let status = receiver.wait("/api/v1", 1).remove(0);
    assert_eq!(status.path, format!("/api/v1/repos/team/shop/statuses/{commit}"));
    assert_eq!(status.header("authorization"), format!("token {TOKEN}"));
    assert_eq!((&status.json()["state"], &status.json()["context"]), (&json!("failure"), &json!("skep/default/shop")));
    let waiting = server.notifier("hook", |it| it["status"]["attempts"] == 2);
    assert_eq!(waiting["status"]["pending"], 1);
    assert!(waiting["status"]["lastError"].as_str().unwrap().contains("it answered 429"), "{waiting}");

    drop(server);
    let server = Server::start(&data, &["--allow-private-addresses"]);
    let hook = receiver.wait("/hook", 4);
    let ids: Vec<&str> = hook.iter().map(|got| got.header("x-skep-delivery")).collect();
    assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 32), "{ids:?}");
    for got in &hook {
        assert!(got.is_signed_with(SECRET));
        assert_eq!(got.json()["event"], "Failed");
    }
    let told = server.notifier("hook", |it| it["status"]["pending"] == 0);
    assert_eq!((&told["status"]["delivered"], &told["status"]["givenUp"]), (&json!(1), &json!(0)));
    // What was taken before is not told again, and the dead one has kept nobody back.
    for (address, count) in [("/slack", 1), ("/events", 1), ("/api/v1", 1), ("/other", 0)] {
        assert_eq!(receiver.wait(address, count).len(), count, "{address}");
    }
    assert_eq!(server.notifier("dead", |_| true)["status"]["pending"], 1);

    // Another commit, another story: by then everything before it has been told.
    repo.commit("main", &[("docker-stack.yml", &BAD.replace("imagee", "imagge"))]);
    server.done(&["reconcile", "shop"]);
    assert_ne!(receiver.wait("/hook", 5)[4].header("x-skep-delivery"), ids[0]);
    for got in &receiver.all() {
        let text = String::from_utf8_lossy(&got.body);
        assert!(!text.contains("marked-"), "{text}");
    }
}

#[test]
fn a_notifier_is_tried_out_and_says_what_came_back() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let data = folder.path().join("skep-data");
    let server = Server::start(&data, &["--allow-private-addresses"]);
    server.apply(&manifest(&receiver.address));
    assert!(server.done(&["notifier", "test", "team"]).contains("team took it: it answered 200"));
    let test = receiver.wait("/slack", 1).remove(0).json();
    assert!(test["text"].as_str().unwrap().contains("This is a test of the notifier `team`"), "{test}");
    server.done(&["notifier", "test", "hook"]);
    let test = receiver.wait("/hook", 1).remove(0);
    assert!(test.header("x-skep-signature-256").starts_with("sha256="));
    assert_eq!((test.header("x-skep-event"), &test.json()["event"]), ("Test", &json!("Test")));
    receiver.script("/slack", &[Act::Answer("404 Not Found", "")]);
    let (code, said) = server.run(&["notifier", "test", "team"]);
    assert_eq!((code, said.contains("team did not take it: it answered 404: ok")), (1, true), "{said}");
    let (code, said) = server.run(&["notifier", "test", "commits"]);
    assert_eq!((code, said.contains("no stack with a commit was deployed yet")), (1, true), "{said}");
    let (code, said) = server.run(&["notifier", "test", "tema"]);
    assert_eq!((code, said.contains("did you mean `team`?")), (3, true), "{said}");

    // The commit of a deployment is there: then the repository is asked for, and nothing is set.
    let repo = Repo::create(folder.path(), "team/shop");
    repo.commit("main", &[("docker-stack.yml", BAD)]);
    let git = GitServer::start(folder.path());
    server.apply(&stack(&git.base()));
    receiver.wait("/api/v1/repos/team/shop/statuses/", 1);
    assert!(server.done(&["notifier", "test", "commits"]).contains("commits took it"));
    let look = receiver.wait("/api/v1", 2).remove(1);
    assert_eq!((look.method.as_str(), look.path.as_str()), ("GET", "/api/v1/repos/team/shop"));

    let listed = server.done(&["notifier", "list"]);
    assert!(listed.contains("Slack") && listed.contains(&format!("http://{}", receiver.address)), "{listed}");
    assert!(!listed.contains("marked-part"), "{listed}");
    server.done(&["notifier", "delete", "team"]);
    assert!(!server.done(&["get", "notifiers", "-o", "name"]).contains("team"));
    let (code, said) = server.run(&["credential", "delete", "key"]);
    assert_eq!((code, said.contains("in use by notifier `hook`")), (5, true), "{said}");

    // Without leave, addresses of this machine are not connected to.
    drop(server);
    let server = Server::start(&data, &[]);
    let (code, said) = server.run(&["notifier", "test", "events"]);
    assert_eq!((code, said.contains("127.0.0.1 is a private address")), (1, true), "{said}");
}
