//! Two keepers of one thing: the second one stands back and says so.

use serde_json::json;

use crate::drift::Foreign;
use crate::support::compose::{Web, compose};
use crate::support::docker;
use crate::support::hive::{Hive, Stay};
use crate::support::stack::{Subject, unique};
use crate::support::watch::Watch;

#[tokio::test]
async fn a_service_of_that_name_that_someone_else_made_stays_as_it_is() {
    let mut subject = Subject::new(Stay::together().await, "taken");
    let foreign = Foreign::start(&subject.service("web"), &[]);
    let before = foreign.spec();
    subject.push("1", Web::Good);
    subject.apply().await;
    let name = subject.service("web");
    let stack = subject
        .watch
        .until("told of the foreign service", 30, |it| {
            let conditions = it["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|it| it["message"].as_str().is_some_and(|message| message.contains(&name)))
        })
        .await;
    assert_ne!(stack["phase"], "Converged");
    assert_eq!(foreign.spec(), before);
    assert!(docker::service(&subject.service("worker")).is_none(), "nothing is done by halves");
}

#[tokio::test]
async fn a_second_skep_on_the_same_swarm_only_observes() {
    let first = Subject::running(Stay::together().await, "mine").await;
    let versions = first.versions();

    let second = Hive::start();
    let client = second.client();
    let name = unique("theirs");
    let manifest = json!({ "kind": "Stack", "name": name, "inline": compose("1", Web::Good) }).to_string();
    client.mutate("applyStack", &json!({ "manifest": manifest })).await.unwrap();
    let said = |it: &serde_json::Value| {
        let conditions = it["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|it| it["reason"] == "Foreign")
    };
    Watch::stack(&client, &name).until("told of the other Skep", 30, said).await;
    for kind in ["service", "network", "config"] {
        assert_eq!(docker::of_stack(kind, &name), Vec::<String>::new());
    }
    assert_eq!(first.versions(), versions);
    assert_eq!(docker::labelled("config", "dev.skep.claim").len(), 1);
}

#[tokio::test]
async fn a_second_skep_takes_the_swarm_over_when_it_is_told_to_and_hands_it_back() {
    let stay = Stay::alone().await;
    let second = Hive::start();
    let client = second.client();
    let name = unique("handed");
    let manifest = json!({ "kind": "Stack", "name": name, "inline": compose("1", Web::Good) }).to_string();
    client.mutate("applyStack", &json!({ "manifest": manifest })).await.unwrap();
    let claimed = second.cli(&["environment", "claim", "default"]);
    assert!(claimed.status.success(), "{claimed:?}");
    let mut watch = Watch::stack(&client, &name);
    watch.until_phase("Converged", 60).await;

    let back = stay.cli(&["environment", "claim", "default", "--reason", "the test is over"]);
    assert!(back.status.success(), "{back:?}");
    let service = format!("{name}_web");
    docker::docker(&["service", "update", "--detach", "--label-add", "by=hand", &service]);
    let said = |it: &serde_json::Value| {
        let conditions = it["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|it| it["type"] == "Drifted" && it["status"] == "True")
    };
    watch.until("seeing the change, and leaving it", 60, said).await;
    assert_eq!(docker::service(&service).unwrap()["Spec"]["Labels"]["by"], "hand");
    docker::remove_stack(&name);
}
