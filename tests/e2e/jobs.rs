//! Waves, and jobs before and after a deployment, on the real engine: a migration, a smoke test, a web that waits for a
//! database.

use serde_json::{Value, json};

use crate::support::docker;
use crate::support::hive::Stay;
use crate::support::stack::Subject;

/// A release of a database, a web that waits for it, a job before and a job after that end so.
fn compose(release: &str, migrate: u8, smoke: u8) -> String {
    format!(
        r#"services:
  db:
    image: skep-example:1
    environment: {{ RELEASE: "1" }}
    healthcheck: &health
      {{ test: [CMD, wget, -q, -O-, "http://127.0.0.1:8080/healthz"], interval: 500ms, timeout: 10s, retries: 30 }}
    stop_grace_period: 1s
    deploy: {{ replicas: 1, update_config: {{ monitor: 1s }} }}
  web:
    image: skep-example:1
    environment: {{ RELEASE: "{release}" }}
    healthcheck: *health
    depends_on: {{ db: {{ condition: service_healthy }} }}
    stop_grace_period: 1s
    deploy: {{ replicas: 2, update_config: {{ parallelism: 2, order: start-first, monitor: 1s }} }}
  migrate:
    image: skep-example:1
    x-skep: {{ hook: pre, deadline: 1m }}
    depends_on: {{ db: {{ condition: service_healthy }} }}
    environment: {{ RELEASE: "{release}" }}
    command: [sh, -c, 'echo "migrating $$SKEP_DIRECTION $$RELEASE"; [ "$$SKEP_DIRECTION" = rollback ] || exit {migrate}']
  smoke:
    image: skep-example:1
    x-skep: {{ hook: post, deadline: 1m }}
    environment: {{ RELEASE: "{release}" }}
    command: [sh, -c, 'echo "trying $$SKEP_DIRECTION $$RELEASE"; [ "$$SKEP_DIRECTION" = rollback ] || exit {smoke}']
"#
    )
}

fn job<'a>(deployment: &'a Value, name: &str) -> &'a Value {
    let jobs = deployment["jobs"].as_array().expect("jobs");
    jobs.iter().find(|job| job["service"] == name).unwrap_or_else(|| panic!("{name} ran: {deployment:#}"))
}

/// What the services of the stack are, and when each was made or changed last.
fn services(subject: &Subject) -> Vec<(String, u64)> {
    subject.versions()
}

#[tokio::test]
async fn jobs_run_in_their_place_stop_what_they_should_and_take_back_what_they_should() {
    let mut subject = Subject::new(Stay::together().await, "jobs");
    let first = subject.push_text(&compose("1", 0, 0));
    subject.apply().await;
    subject.until_converged_on(&first).await;
    let deployment = subject.client.deployments(&subject.name).await.remove(0);
    for (name, when, line) in [("migrate", "Pre", "migrating deploy 1"), ("smoke", "Post", "trying deploy 1")] {
        let job = job(&deployment, name);
        assert_eq!((&job["phase"], &job["when"], &job["exitCode"]), (&"Succeeded".into(), &when.into(), &json!(0)));
        assert_eq!(job["logTail"], json!([line]), "{job:#}");
    }
    let made =
        |service: &str| docker::service(&subject.service(service)).unwrap()["CreatedAt"].as_str().unwrap().to_owned();
    assert!(made("db") < made("web"), "the web was written after the database ran");
    let names: Vec<String> = services(&subject).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [subject.service("db"), subject.service("web")], "no run of a job is left");

    // The job before fails: nothing of the stack is touched.
    let before = services(&subject);
    let second = subject.push_text(&compose("2", 7, 0));
    subject.until_rolled_back(&second).await;
    let failed = subject.until_deployment_of(&second).await;
    assert_eq!((&failed["phase"], &failed["failure"]["class"]), (&"Failed".into(), &"Hook".into()), "{failed:#}");
    assert_eq!((&failed["failure"]["service"], &failed["failure"]["exitCode"]), (&"migrate".into(), &json!(7)));
    assert_eq!(failed["failure"]["logTail"], json!(["migrating deploy 2"]), "{failed:#}");
    assert_eq!(services(&subject), before, "no service was written to");
    assert_eq!(docker::running_releases(&subject.service("web")), ["1", "1"]);

    // The job after fails: the whole stack comes back, and the jobs are told so.
    let third = subject.push_text(&compose("3", 0, 4));
    subject.until_rolled_back(&third).await;
    let failed = subject.until_deployment_of(&third).await;
    assert_eq!((&failed["phase"], &failed["failure"]["class"]), (&"RolledBack".into(), &"Hook".into()), "{failed:#}");
    assert_eq!((&failed["failure"]["service"], &failed["failure"]["exitCode"]), (&"smoke".into(), &json!(4)));
    let all = subject.client.deployments(&subject.name).await;
    let back = all.iter().find(|it| it["rollbackOf"] == failed["deploymentId"]).expect("a rollback");
    assert_eq!(job(back, "migrate")["direction"], "Rollback");
    assert_eq!(job(back, "migrate")["logTail"], json!(["migrating rollback 1"]), "{back:#}");
    assert_eq!(job(back, "smoke")["phase"], "Succeeded");
    assert_eq!(docker::running_releases(&subject.service("web")), ["1", "1"]);

    // And a good one flows by itself.
    let fourth = subject.push_text(&compose("4", 0, 0));
    subject.until_converged_on(&fourth).await;
    assert_eq!(docker::running_releases(&subject.service("web")), ["4", "4"]);
    assert_eq!(services(&subject).len(), 2);
}
