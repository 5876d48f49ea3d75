//! What the outside is told of versions that come and go on the real Swarm: each transition once, signed, in order; a receiver
//! that is dead keeps back nothing but its own.

use serde_json::Value;

use crate::receiver::Receiver;
use crate::support::compose::Web;
use crate::support::hive::Stay;
use crate::support::stack::{Subject, of_commit};

const SECRET: &str = "a-secret-of-the-outside";

/// Two notifiers for this stack alone, of which the second one's receiver is not there.
fn notifiers(stack: &str, receiver: &str, dead: &str) -> String {
    format!(
        "kind: Credential\nname: {stack}\ntype: Opaque\ndata: {{ secret: {SECRET} }}\n---\n\
         kind: Notifier\nname: {stack}\ntype: Webhook\nurl: http://{receiver}/hook\ncredential: {stack}\nstacks: [{stack}]\n---\n\
         kind: Notifier\nname: {stack}-dead\ntype: Webhook\nurl: http://{dead}/hook\ncredential: {stack}\nstacks: [{stack}]\n"
    )
}

#[tokio::test]
async fn the_outside_is_told_once_of_what_converges_and_of_what_fails_and_is_rolled_back() {
    let mut subject = Subject::new(Stay::together().await, "told");
    let receiver = Receiver::start();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let manifest = notifiers(&subject.name, &receiver.address, &dead.to_string());
    let input = serde_json::json!({ "manifest": manifest });
    subject.client.mutate("applyStack", &input).await.unwrap_or_else(|errors| panic!("{errors:#?}"));

    let good = subject.push("1", Web::Good);
    subject.apply().await;
    subject.until_converged_on(&good).await;
    let bad = subject.push("2", Web::Exits);
    subject.until_rolled_back(&bad).await;

    // One more good one, by which it shows that nothing else was said before it.
    let next = subject.push("3", Web::Good);
    subject.until_converged_on(&next).await;
    let came = receiver.wait("/hook", 7);
    let told: Vec<(Value, Value)> =
        came.iter().map(|got| got.json()).map(|it| (it["event"].clone(), it["revision"].clone())).collect();
    let wanted = [
        ("Started", &good),
        ("Converged", &good),
        ("Started", &bad),
        ("Failed", &bad),
        ("RolledBack", &bad),
        ("Started", &next),
        ("Converged", &next),
    ];
    assert_eq!(told, wanted.map(|(event, commit)| (event.into(), commit.as_str().into())));
    let deployments = subject.client.deployments(&subject.name).await;
    for got in &came {
        assert!(got.is_signed_with(SECRET));
        let (message, revision) = (got.json(), got.json()["revision"].as_str().unwrap().to_owned());
        let own = deployments.iter().find(|it| of_commit(it, &revision) && it["rollbackOf"].is_null()).unwrap();
        assert_eq!(message["deploymentId"], own["deploymentId"], "{message}");
    }
    assert_eq!(came[3].json()["failure"], "ExitCode");

    let listed = subject.hive.cli(&["get", "notifiers", "-o", "json"]);
    let listed: Vec<Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let of = |name: &str| listed.iter().find(|it| it["name"] == name).unwrap()["status"].clone();
    let held_up = of(&format!("{}-dead", subject.name));
    assert_eq!((&held_up["pending"], &held_up["delivered"]), (&7.into(), &0.into()), "{held_up}");
    for name in [subject.name.clone(), format!("{}-dead", subject.name)] {
        assert!(subject.hive.cli(&["notifier", "delete", &name]).status.success());
    }
}
