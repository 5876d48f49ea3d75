//! The process may die at any moment, and goes on from the facts.

use crate::support::compose::Web;
use crate::support::hive::Stay;
use crate::support::stack::{Subject, of_commit};
use crate::support::watch::Watch;

#[tokio::test]
async fn a_kill_in_the_middle_of_an_update_changes_nothing_of_its_end() {
    let mut subject = Subject::running(Stay::alone().await, "kill").await;
    let second = subject.push("2", Web::Slow);
    let deployment = subject.until_deployment_of(&second).await;
    let id = deployment["deploymentId"].as_str().unwrap();
    let mut watch = Watch::deployment(&subject.client, id);
    watch.until("at the engine", 20, |it| it["phase"] == "Applying" || it["phase"] == "Verifying").await;
    subject.hive.kill();
    subject.hive.restart();
    watch.until_phase("Converged", 120).await;
    subject.until_converged_on(&second).await;
    subject.assert_runs("2");
    let all = subject.client.deployments(&subject.name).await;
    assert_eq!(all.iter().filter(|it| of_commit(it, &second)).count(), 1, "it was not applied twice: {all:#?}");
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_bad_update_ends_in_the_way_back() {
    let mut subject = Subject::running(Stay::alone().await, "killbad").await;
    let second = subject.push("2", Web::Unhealthy);
    let deployment = subject.until_deployment_of(&second).await;
    let id = deployment["deploymentId"].as_str().unwrap();
    let mut watch = Watch::deployment(&subject.client, id);
    watch.until("at the engine", 20, |it| it["phase"] == "Applying" || it["phase"] == "Verifying").await;
    subject.hive.kill();
    subject.hive.restart();
    watch.until_phase("RolledBack", 90).await;
    subject.assert_runs("1");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let mut subject = Subject::new(Stay::alone().await, "ack");
    let first = subject.push("1", Web::Good);
    subject.apply().await;
    subject.hive.kill();
    subject.hive.restart();
    subject.until_converged_on(&first).await;
    subject.assert_runs("1");
}

#[tokio::test]
async fn sigterm_ends_it_with_0_and_leaves_what_runs() {
    let mut subject = Subject::running(Stay::alone().await, "term").await;
    let versions = subject.versions();
    assert_eq!(subject.hive.terminate(), Some(0));
    subject.assert_runs("1");
    subject.hive.restart();
    subject.watch.until_phase("Converged", 30).await;
    assert_eq!(subject.versions(), versions, "a converged stack costs no write, a restart included");
}
