//! A person's choice of an older version holds until a person ends it.

use serde_json::json;

use crate::support::compose::Web;
use crate::support::hive::Stay;
use crate::support::stack::{Subject, of_commit};

#[tokio::test]
async fn a_pin_holds_new_versions_back_until_unpin() {
    let mut subject = Subject::running(Stay::together().await, "pin").await;
    let second = subject.push("2", Web::Good);
    subject.until_converged_on(&second).await;

    subject.act("rollbackStack", json!({ "reason": "the second one looks odd" })).await;
    let back =
        |it: &serde_json::Value| it["phase"] == "Converged" && !it["pin"].is_null() && !of_commit(&it["live"], &second);
    subject.watch.until("pinned to the first", 60, back).await;
    subject.assert_runs("1");

    // Recorded and shown as waiting; nothing moves.
    let third = subject.push("3", Web::Good);
    let waiting = |it: &serde_json::Value| of_commit(&it["desired"], &third) && !of_commit(&it["target"], &third);
    subject.watch.until("waiting behind the pin", 30, waiting).await;
    subject.nudge();
    subject.assert_runs("1");

    subject.act("unpinStack", json!({})).await;
    let stack = subject.until_converged_on(&third).await;
    assert!(stack["pin"].is_null());
    subject.assert_runs("3");
}
