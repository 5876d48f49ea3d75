//! Couriers: each transition once, in order, through refusals, waits and crashes.

use super::*;

#[tokio::test(start_paused = true)]
async fn each_transition_is_told_once() {
    let world = World::new(HOOK).await;
    world.start_and_converge().await;
    let bodies = world.receiver.bodies(TEAM, 2).await;
    let status = world.until("team", |status| status.delivered == 2).await;
    assert_eq!(words(&bodies), ["Started", "Converged"]);
    assert_eq!((status.attempts, status.given_up, status.last_error), (0, 0, None));
    assert_eq!(bodies[0]["url"], format!("https://skep.example.org/deployments/{}", world.deployment().id));
    assert_eq!(bodies[0]["revision"], COMMIT);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.receiver.at(TEAM).len(), 2, "nothing more comes");
}

#[tokio::test(start_paused = true)]
async fn a_body_is_signed_and_says_when_it_was_sent() {
    use hmac::{Hmac, KeyInit, Mac};
    let world = World::new(HOOK).await;
    world.start_and_converge().await;
    let bodies = world.receiver.bodies(TEAM, 1).await;
    let (_, request) = world.receiver.at(TEAM).remove(0);
    let header = |name: &str| request.headers.iter().find(|(it, _)| *it == name).unwrap().1.clone();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"its-a-secret-to-everybody").unwrap();
    mac.update(&request.body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(header("x-skep-signature-256"), format!("sha256={hex}"));
    assert_eq!(header("x-skep-delivery"), bodies[0]["id"].as_str().unwrap());
    assert_eq!(header("x-skep-event"), "Started");
    let sent: Timestamp = bodies[0]["sentAt"].as_str().unwrap().parse().unwrap();
    assert_eq!(header("x-skep-timestamp"), sent.as_second().to_string());
    assert!(!format!("{request:?}").contains("example.org"), "what is sent is not printed");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_sent_again_under_the_same_id_with_longer_waits() {
    let world = World::new(HOOK).await;
    world.receiver.script(TEAM, &[Act::Answer(500), Act::Break, Act::Answer(404), Act::Answer(503), Act::Answer(204)]);
    world.start_and_converge().await;
    let status = world.until("team", |status| status.attempts == 2).await;
    assert_eq!(status.last_error.as_deref(), Some("no connection"));
    assert!(status.next_attempt_at.is_some());
    let name = NotifierName::parse("team").unwrap();
    let notifier = world.ledger.notifier(&name).unwrap().unwrap().value;
    assert_eq!(world.ledger.owes(&notifier, &status).unwrap(), 2, "both are pending");
    let bodies = world.receiver.bodies(TEAM, 6).await;
    assert_eq!(words(&bodies), ["Started", "Started", "Started", "Started", "Started", "Converged"]);
    let ids: BTreeSet<&str> = bodies[..5].iter().map(|body| body["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    let times: Vec<Duration> = world.receiver.at(TEAM).into_iter().map(|(time, _)| time).collect();
    let waits: Vec<u128> = times.windows(2).take(4).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    // The half of it is by chance, which is a half here.
    assert_eq!(waits, [750, 1500, 3000, 6000]);
    let status = world.until("team", |status| status.delivered == 2).await;
    assert_eq!((status.attempts, status.next_attempt_at), (0, None));
}

/// What an earlier version has done for good is known, whatever the policy says by now.
#[tokio::test(start_paused = true)]
async fn no_way_back_is_promised_where_there_is_none() {
    for passed in [false, true] {
        let world = World::new(HOOK).await;
        let point_of_no_return = passed.then(|| DeploymentId("01irreversible".to_owned()));
        let status = StackStatus { point_of_no_return, ..StackStatus::default() };
        world.ledger.commit(Batch::new().put_status(&shop(), &status)).await.unwrap();
        world.start_and_converge().await;
        let bodies = world.receiver.bodies(TEAM, 2).await;
        let next = bodies[0]["next"].as_str().unwrap();
        assert_eq!(next.contains("or the last good version comes back"), !passed, "{next}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_asks_for_time_gets_it_also_after_a_restart() {
    let mut world = World::new(HOOK).await;
    let acts = [Act::Wait(429, "120"), Act::Wait(503, "Sat, 31 Jan 2026 12:10:00 GMT"), Act::Answer(200)];
    world.receiver.script(TEAM, &acts);
    world.start_and_converge().await;
    world.until("team", |status| status.attempts == 2).await;
    let at = |n: usize| world.receiver.at(TEAM)[n].0.as_secs();
    assert_eq!(at(1), 120);
    world.work();
    world.receiver.bodies(TEAM, 3).await;
    let third = world.receiver.at(TEAM)[2].0.as_secs();
    assert!((599..=600).contains(&third), "{third}");
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_given_up_and_the_next_one_is_told() {
    let world = World::new(HOOK).await;
    world.receiver.script(TEAM, &[Act::Answer(500)]);
    let mut deployment = world.deployment();
    world.enter(&mut deployment, DeploymentPhase::Applying, "goes on").await;
    let status = world.until("team", |status| status.given_up == 1).await;
    assert!(status.last_error.as_deref().unwrap().contains("given up after"), "{status:?}");
    let age = NotifyOptions::default().age;
    let last = world.receiver.at(TEAM).last().unwrap().0;
    assert!(last <= age && last + Duration::from_secs(301) >= age, "{last:?}");
    world.receiver.scripts.lock().unwrap().clear();
    world.enter(&mut deployment, DeploymentPhase::Converged, "all run").await;
    let status = world.until("team", |status| status.delivered == 1).await;
    assert_eq!(status.given_up, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_refused_for_good_keeps_no_other_back() {
    let world = World::new(HOOK).await;
    world.receiver.script(TEAM, &[Act::Answer(422), Act::Answer(200)]);
    world.start_and_converge().await;
    let bodies = world.receiver.bodies(TEAM, 2).await;
    assert_eq!(words(&bodies), ["Started", "Converged"]);
    let status = world.until("team", |status| status.delivered == 1).await;
    assert_eq!((status.given_up, status.last_error.as_deref()), (1, Some("it answered 422: so it is")));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    let other = HOOK.replace("name: team", "name: zoo").replace("team.example.org", "zoo.example.org");
    let world = World::new(HOOK).await;
    world.apply(other.split_once("---\n").unwrap().1).await;
    world.receiver.script(TEAM, &[Act::Hang]);
    world.start_and_converge().await;
    let bodies = world.receiver.bodies("https://zoo.example.org", 2).await;
    assert_eq!(words(&bodies), ["Started", "Converged"]);
    assert_eq!(world.receiver.at(TEAM).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_the_answer_loses_nothing() {
    let mut world = World::new(HOOK).await;
    world.receiver.script(TEAM, &[Act::Hang, Act::Answer(200)]);
    world.start_and_converge().await;
    world.receiver.bodies(TEAM, 1).await;
    world.crash();
    world.work();
    let bodies = world.receiver.bodies(TEAM, 3).await;
    assert_eq!(words(&bodies), ["Started", "Started", "Converged"]);
    assert_eq!(bodies[0]["id"], bodies[1]["id"]);
    world.until("team", |status| status.delivered == 2).await;
    // And after all was told, a start tells nothing again.
    world.work();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.receiver.at(TEAM).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_could_not_be_written_sends_again_under_the_same_id() {
    let world = World::new(HOOK).await;
    world.store.1.store(true, Ordering::SeqCst);
    world.start_and_converge().await;
    let bodies = world.receiver.bodies(TEAM, 3).await;
    assert_eq!(words(&bodies), ["Started", "Started", "Converged"]);
    assert_eq!(bodies[0]["id"], bodies[1]["id"]);
    assert_ne!(bodies[1]["id"], bodies[2]["id"]);
}

#[tokio::test(start_paused = true)]
async fn a_notifier_tells_of_what_it_is_for_from_when_it_is_declared_until_it_is_deleted() {
    let world = World::new(STACK).await;
    let mut deployment = world.deployment();
    world.enter(&mut deployment, DeploymentPhase::Applying, "goes on").await;
    let (key, team) = HOOK.split_once("---\n").unwrap();
    world.apply(key).await;
    world.apply(&format!("{team}stacks: [sho*]\nevents: [Converged, DriftCorrected]\n")).await;
    world.apply(&team.replace("name: team", "name: blog").replace("team.example", "blog.example")).await;
    world.apply(&format!("{}stacks: [blog]\n", team.replace("name: team", "name: blog"))).await;
    world.enter(&mut deployment, DeploymentPhase::Converged, "all run").await;
    let corrected = event(EventType::DriftCorrected, None, world.ambient.now(), "DriftCorrected", "service shop_web");
    world.ledger.commit(Batch::new().event(&corrected)).await.unwrap();
    let bodies = world.receiver.bodies(TEAM, 2).await;
    assert_eq!(words(&bodies), ["Converged", "DriftCorrected"]);
    assert_eq!(bodies[1]["url"], "https://skep.example.org/stacks/default/shop");
    world.until("team", |status| status.delivered == 2).await;
    let ask = Ask::new(Actor::new("ada"), Trigger::Api);
    let name = world.declare.delete_notifier("team", &ask).await.unwrap();
    world.ledger.commit(Batch::new().event(&corrected)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.receiver.got.lock().unwrap().len(), 2);
    let left = world.store.scan(&Scan::all("notifier-status/")).unwrap();
    assert!(left.iter().all(|entry| !entry.key.ends_with(name.as_str())), "nothing of it is left");
}

#[tokio::test(start_paused = true)]
async fn what_was_mended_is_tried_at_once() {
    let world = World::new(&HOOK.replace("data: { secret: its-a-secret-to-everybody }", "data: { a: b, c: d }")).await;
    world.start_and_converge().await;
    let status = world.until("team", |status| status.attempts == 9).await;
    assert!(status.last_error.as_deref().unwrap().contains("it holds no `secret`"), "{status:?}");
    let before = world.ambient.now();
    world.apply(HOOK.split_once("---\n").unwrap().0).await;
    world.receiver.bodies(TEAM, 2).await;
    assert!(world.ambient.now().duration_since(before) < SignedDuration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn no_secret_comes_into_a_message() {
    let world = World::new(HOOK).await;
    let mut deployment = world.deployment();
    deployment.origin.reason = Some(format!("because of {MARKED}"));
    world.enter(&mut deployment, DeploymentPhase::Applying, "goes on").await;
    deployment.failure = Some(Failure::new(FailureClass::ExitCode, format!("it said {MARKED}")));
    world.enter(&mut deployment, DeploymentPhase::Failed, &format!("it said {MARKED}")).await;
    let bodies = world.receiver.bodies(TEAM, 2).await;
    let all = Value::Array(bodies).to_string();
    assert!(!all.contains(MARKED) && all.contains("because of ***") && all.contains("it said ***"), "{all}");
}
