//! Logs: what Skep does and what containers write, live, over the whole story of a version that fails.

use serde_json::{Value, json};

use crate::support::hive::Stay;
use crate::support::stack::Subject;

const SECRET: &str = "hunter2-hunter2-hunter2";

/// A web that tells its release and its secret, ticks, or gives up.
fn text(release: &str, gives_up: bool) -> String {
    let end = if gives_up { "echo giving up; exit 3" } else { "while :; do echo tick; sleep 1 & wait; done" };
    format!(
        r#"services:
  web:
    image: skep-example:1
    command: [sh, -c, 'trap "exit 0" TERM; echo "release $$RELEASE"; echo "the key is $$KEY" >&2; {end}']
    environment: {{ RELEASE: "{release}", KEY: "${{KEY}}" }}
    stop_grace_period: 1s
    deploy:
      replicas: 2
      update_config: {{ parallelism: 2, monitor: 1s }}
      restart_policy: {{ condition: any, delay: 500ms }}
"#
    )
}

#[tokio::test]
async fn a_log_is_followed_from_the_first_step_to_a_rollback_and_read_afterwards() {
    let mut subject = Subject::new(Stay::together().await, "logs");
    let name = subject.name.clone();
    let first = subject.push_text(&text("1", false));
    let manifest = format!("{}variables: {{ KEY: {{ value: {SECRET}, secret: true }} }}\n", subject.manifest());
    let applied = subject.client.mutate("applyStack", &json!({ "manifest": manifest })).await;
    let applied = applied.unwrap_or_else(|errors| panic!("{errors:#?}"));
    let deployment = applied["deployment"]["deploymentId"].as_str().unwrap().to_owned();

    // One deployment, to its end.
    let (code, lines) = subject.hive.follow(&["logs", "--deployment", &deployment, "-f", "--timestamps"]).end();
    let at = |what: &str| {
        lines.iter().position(|line| line.contains(what)).unwrap_or_else(|| panic!("no `{what}` in {lines:#?}"))
    };
    assert_eq!(code, Some(0));
    assert!(at("| DeploymentCreated: ") < at("| StepApplied: service"), "{lines:#?}");
    assert!(at("| StepApplied: service") < at("| release 1"), "{lines:#?}");
    assert!(at("| the key is ***") < at("| Converged: "), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains(" web.1@")) && lines.iter().any(|line| line.contains(" web.2@")));
    assert_eq!(lines.iter().filter(|line| line.contains("release 1")).count(), 2, "each task once: {lines:#?}");
    subject.until_converged_on(&first).await;

    // The stack, over a version that fails, and the one that comes back.
    let mut followed = subject.hive.follow(&["logs", &name, "-f", "--tail", "1"]);
    followed.until("| tick");
    let mut of_web = subject.hive.follow(&["logs", &format!("{name}/web"), "-f", "--tail", "0"]);
    let bad = subject.push_text(&text("2", true));
    let failed = subject.until_deployment_of(&bad).await["deploymentId"].as_str().unwrap().to_owned();
    followed.until("| giving up");
    of_web.until("| giving up");
    followed.until("| release 1");
    followed.until("| RolledBack: ");
    subject.until_rolled_back(&bad).await;
    assert!(of_web.seen.iter().all(|line| line.starts_with("web.")), "{:#?}", of_web.seen);
    for line in followed.seen.iter().chain(&of_web.seen).chain(&lines) {
        assert!(!line.contains(SECRET), "{line}");
    }

    // Over REST, in whole and of one service.
    let get = async |query: &str| {
        let url = format!("http://{}/api/v1/deployments/{failed}/logs{query}", subject.hive.address);
        let answer = reqwest::Client::new().get(url).bearer_auth(subject.hive.token()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, whole) = get("?follow=true").await;
    assert_eq!(status, 200);
    for what in [" skep: StepApplied: ", ": release 2", ": giving up", ": the key is ***", " skep: RolledBack: "] {
        assert!(whole.contains(what), "no `{what}` in {whole}");
    }
    assert!(!whole.contains(SECRET));
    let (status, of_service) = get("?service=web&since=1h").await;
    assert!(status == 200 && of_service.contains(": giving up") && !of_service.contains(" skep: "), "{of_service}");
    assert_eq!(get("?service=wbe").await.0, 404);
    let out = subject.hive.cli(&["logs", &name, "--deployment", &failed, "-o", "json"]);
    let texts = String::from_utf8(out.stdout).unwrap();
    let objects: Vec<Value> = texts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(objects.iter().any(|it| it["text"] == "giving up" && it["service"] == "web" && it["stream"] == "Stdout"));
    assert!(objects.iter().any(|it| it["text"] == "the key is ***" && it["stream"] == "Stderr"), "{texts}");
}
