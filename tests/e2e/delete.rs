//! Delete takes away what Skep made, and nothing else.

use serde_json::json;

use crate::drift::Foreign;
use crate::support::compose::{Web, compose};
use crate::support::docker::{self, docker};
use crate::support::hive::Stay;
use crate::support::stack::Subject;

#[tokio::test]
async fn delete_removes_just_what_was_owned() {
    let mut subject = Subject::new(Stay::together().await, "delete");
    let text = compose("1", Web::Good).replace(
        "    networks: [front]\n    healthcheck",
        "    networks: [front]\n    volumes: [kept:/kept]\n    configs: [note]\n    healthcheck",
    ) + "volumes:\n  kept: {}\nconfigs:\n  note:\n    content: hello\n";
    let first = subject.push_text(&text);
    subject.apply().await;
    subject.until_converged_on(&first).await;
    let label = format!("com.docker.stack.namespace={}", subject.name);
    let foreign = Foreign::start(&subject.service("other"), &["--label", &label]);
    assert_eq!(docker::of_stack("config", &subject.name).len(), 1);

    // The name has to be said once more.
    let wrong = json!({ "stack": crate::support::graphql::stack_ref(&subject.name), "confirmName": "another" });
    subject.client.mutate("deleteStack", &wrong).await.expect_err("refused");
    subject.assert_runs("1");

    let deleted = subject.hive.cli(&["delete", &subject.name, "--yes"]);
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    assert!(subject.client.stack(&subject.name).await.is_null());
    assert_eq!(docker::of_stack("service", &subject.name), [foreign.0.as_str()]);
    assert_eq!(docker::of_stack("network", &subject.name), Vec::<String>::new());
    assert_eq!(docker::of_stack("config", &subject.name), Vec::<String>::new());
    let volume = format!("{}_kept", subject.name);
    assert!(docker(&["volume", "ls", "-q"]).lines().any(|it| it == volume), "volumes are kept");
}

#[tokio::test]
async fn delete_that_keeps_running_leaves_the_objects() {
    let subject = Subject::running(Stay::together().await, "release").await;
    let versions = subject.versions();
    let deleted = subject.hive.cli(&["delete", &subject.name, "--yes", "--keep-running"]);
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
    assert!(subject.client.stack(&subject.name).await.is_null());
    subject.assert_runs("1");
    assert_eq!(subject.versions().len(), versions.len());
}
