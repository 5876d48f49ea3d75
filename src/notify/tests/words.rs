//! What a message says, and the forms of one that goes to one address.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_failure_that_is_rolled_back_is_told_twice_and_one_that_is_not_says_so() {
    let mut it = Pieces::new().await;
    let at = |second: i64| start() + SignedDuration::from_secs(second);
    let mut events = vec![entered(&mut it.deployment, DeploymentPhase::Applying, at(1), "3 steps")];
    events.push(entered(&mut it.deployment, DeploymentPhase::RollingBack, at(2), "web exits; bringing … back"));
    events.push(event(EventType::Failed, Some(&it.deployment), at(2), "ExitCode", "web exits"));
    it.deployment.failure = Some(Failure::new(FailureClass::ExitCode, "web exits"));
    it.deployment.rolled_back_by = Some(crate::domain::DeploymentId("01back".into()));
    let told = |it: &Pieces, events: &[Event]| -> Vec<String> {
        events.iter().filter_map(|event| it.told(event, true)).map(|it| it.event).collect()
    };
    let mut good = events.clone();
    good.push(entered(
        &mut it.deployment,
        DeploymentPhase::RolledBack,
        at(9),
        "web exits; the last good version is back",
    ));
    // The answer is the same however late it is asked for.
    assert_eq!(told(&it, &good), ["Started", "Failed", "RolledBack"]);
    let lines: Vec<String> =
        good.iter().filter(|event| it.told(event, true).is_some()).map(|event| it.line(event, true)).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    Started: default/shop: the deployment of commit 1481a2de7b2a has started / asked for by ada (Api) / Its tasks are judged; it converges, or the last good version comes back.
    Failed: default/shop: commit 1481a2de7b2a has failed / web exits / The last good version is being brought back; this one is held.
    RolledBack: default/shop: commit 1481a2de7b2a has failed, and the last good version is back / web exits; the last good version is back / The version that failed is held until `skep release-hold shop`; a newer one is deployed by itself.
    ");
    events.push(entered(&mut it.deployment, DeploymentPhase::Failed, at(9), "web exits; and the rollback failed"));
    assert_eq!(told(&it, &events), ["Started", "Failed", "RollbackFailed"]);
    // The rollback itself is told with what it answers.
    it.deployment.rollback_of = Some(crate::domain::DeploymentId("01bad".into()));
    assert_eq!(told(&it, &events), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn every_message_says_what_why_and_what_next() {
    let mut it = Pieces::new().await;
    let mut lines = Vec::new();
    let waits =
        entered(&mut it.deployment, DeploymentPhase::AwaitingApproval, start(), "waits for approval of 2 steps");
    lines.push(it.line(&waits, false));
    let same = entered(&mut it.deployment, DeploymentPhase::Converged, start(), "this version runs already");
    lines.push(it.line(&same, false));
    it.deployment.failure = Some(Failure::new(FailureClass::Render, "line 3: no such key"));
    let bad = entered(&mut it.deployment, DeploymentPhase::Failed, start(), "line 3: no such key");
    lines.push(it.line(&bad, false));
    it.deployment.failure = Some(Failure::new(FailureClass::EngineUnreachable, "no answer"));
    let gone = entered(&mut it.deployment, DeploymentPhase::Failed, start(), "no answer");
    lines.push(it.line(&gone, false));
    lines.push(it.line(&gone, true));
    for (phase, text) in
        [(DeploymentPhase::Superseded, "01new came after it"), (DeploymentPhase::Cancelled, "it was cancelled")]
    {
        let event = entered(&mut it.deployment, phase, start(), text);
        lines.push(it.line(&event, false));
    }
    for (kind, text) in [
        (EventType::DriftCorrected, "service shop_web differs at /Mode"),
        (EventType::Stalled, "network shop_x belongs to someone else"),
        (EventType::Recovered, "it is kept again"),
    ] {
        lines.push(it.line(&event(kind, None, start(), "x", text), false));
    }
    insta::assert_snapshot!(lines.join("\n"), @r"
    AwaitingApproval: default/shop: the deployment of commit 1481a2de7b2a waits for approval / waits for approval of 2 steps / Nothing, until a person says `skep approve 00000000000000000000000001`.
    Unchanged: default/shop: commit 1481a2de7b2a runs already / this version runs already / Nothing: it is kept so.
    Failed: default/shop: commit 1481a2de7b2a has failed / line 3: no such key / Nothing was changed on the Swarm: what ran before runs on. Mend it, and deploy again.
    Failed: default/shop: commit 1481a2de7b2a has failed / no answer / It is tried again by itself, when the obstacle is gone.
    Failed: default/shop: commit 1481a2de7b2a has failed / no answer / It is held: nothing by itself. A newer version, or `skep release-hold shop`, tries again.
    Superseded: default/shop: the deployment of commit 1481a2de7b2a was left for a newer one / 01new came after it / The newer version is being deployed.
    Cancelled: default/shop: the deployment of commit 1481a2de7b2a was cancelled / it was cancelled / What was there before goes on.
    DriftCorrected: default/shop: what somebody else changed on the Swarm was undone / service shop_web differs at /Mode / The stack is watched on.
    Stalled: default/shop is not kept: something is in the way / network shop_x belongs to someone else / A person has to look at `skep get stack shop`.
    Recovered: default/shop is kept again / it is kept again / Nothing needs to be done.
    ");
    for quiet in [EventType::DeploymentCreated, EventType::StepApplied, EventType::Held, EventType::Waiting] {
        assert_eq!(it.told(&event(quiet, Some(&it.deployment), start(), "x", "x"), false), None, "{quiet:?}");
    }
    it.deployment.origin.trigger = Trigger::Drift;
    let corrected = entered(&mut it.deployment, DeploymentPhase::Converged, start(), "all run");
    assert_eq!(it.told(&corrected, false), None, "a correction is told when it is done");
}

#[tokio::test(start_paused = true)]
async fn slack_gets_text_that_means_nothing_but_itself() {
    let mut it = Pieces::new().await;
    it.deployment.failure = Some(Failure::new(FailureClass::ExitCode, "x"));
    let text = format!("<!channel> & <https://x|y> {}", "long ".repeat(1000));
    let event = entered(&mut it.deployment, DeploymentPhase::Failed, start(), &text);
    let mut told = it.told(&event, false).unwrap();
    told.url = Some("https://skep.example.org/deployments/01x".into());
    let body = form::slack(&told);
    let shown = body.to_string();
    assert!(!shown.contains("<!channel>") && shown.contains("&lt;!channel&gt; &amp; &lt;https://x|y&gt;"), "{shown}");
    assert!(
        body["blocks"][0]["text"]["text"]
            .as_str()
            .unwrap()
            .starts_with(":x: <https://skep.example.org/deployments/01x|*default/shop: commit")
    );
    for block in body["blocks"].as_array().unwrap() {
        let text = block["text"]["text"].as_str().or_else(|| block["elements"][0]["text"].as_str()).unwrap();
        assert!(text.chars().count() <= 3000);
    }
    assert!(body["text"].as_str().unwrap().starts_with("default/shop: commit 1481a2de7b2a has failed"));
    let trace = told.trace_id.clone().unwrap();
    assert_eq!(trace, it.deployment.trace().trace_id());
    assert!(shown.contains(&format!("trace `{trace}`")), "{shown}");
    assert_eq!(form::webhook(&told, "01instance", start())["traceId"], trace.as_str());
    assert_eq!(form::cloud_event(&told, "01instance")["data"]["traceId"], trace.as_str());
}

#[tokio::test(start_paused = true)]
async fn a_cloud_event_has_what_the_specification_wants() {
    let mut it = Pieces::new().await;
    let event = entered(&mut it.deployment, DeploymentPhase::Converged, start(), "all run");
    let told = it.told(&event, false).unwrap();
    let body = form::cloud_event(&told, "01instance");
    assert_eq!(body["specversion"], "1.0");
    assert_eq!((&body["id"], &body["source"]), (&json!(told.id), &json!("urn:skep:01instance")));
    assert_eq!((&body["type"], &body["subject"]), (&json!("dev.skep.Unchanged"), &json!("default/shop")));
    assert_eq!((&body["time"], &body["datacontenttype"]), (&json!("2026-01-31T12:00:00Z"), &json!("application/json")));
    assert_eq!(body["data"]["deploymentId"], told.deployment_id.unwrap().as_str());
    // Names of attributes: lower-case letters and digits.
    for name in body.as_object().unwrap().keys() {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "{name}");
    }
}
