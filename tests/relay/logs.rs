//! A log of a far Skep, read by way of the near one.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::pair::{NO_ENGINE, Pair, manifest};

/// Reads until a line holds this; gives all that were read.
async fn until(lines: &mut Lines<BufReader<ChildStdout>>, what: &str) -> Vec<String> {
    let mut read: Vec<String> = Vec::new();
    loop {
        let line = timeout(Duration::from_secs(60), lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("no `{what}` in {read:#?}")).unwrap();
        read.push(line.unwrap_or_else(|| panic!("it ended without `{what}`: {read:#?}")));
        if read.last().unwrap().contains(what) {
            return read;
        }
    }
}

/// `skep logs -f` of the stack `shop` behind the near Skep.
fn follow(pair: &Pair) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut follower = tokio::process::Command::from(pair.near.command(&["-e", "prod", "logs", "shop", "-f"]));
    let mut follower = follower.arg("--timestamps").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    (follower, lines)
}

/// Reads on to the end, which has to come, and to that of the process, which has to be a good one.
async fn ends((mut follower, mut lines): (Child, Lines<BufReader<ChildStdout>>)) {
    let ended = timeout(Duration::from_secs(60), async { while lines.next_line().await.unwrap().is_some() {} }).await;
    assert!(ended.is_ok(), "it goes on");
    assert!(timeout(Duration::from_secs(10), follower.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn a_log_that_is_followed_outlives_a_cut_and_a_kill_without_a_line_twice() {
    let mut pair = Pair::linked(NO_ENGINE).await;
    pair.near.apply(&manifest("shop", 1)).await;
    pair.agree("shop", |_| true).await;
    let (follower, mut lines) = follow(&pair);
    let mut all = until(&mut lines, "generation 1").await;

    pair.way.cut();
    all.extend(until(&mut lines, "the log goes on when it does").await);
    pair.near.apply(&manifest("shop", 2)).await;
    pair.way.heal();
    all.extend(until(&mut lines, "| the log goes on").await);
    all.extend(until(&mut lines, "generation 2").await);

    pair.far.kill().await;
    all.extend(until(&mut lines, "the log goes on when it does").await);
    pair.far.restart().await;
    all.extend(until(&mut lines, "| the log goes on").await);
    pair.near.apply(&manifest("shop", 3)).await;
    all.extend(until(&mut lines, "generation 3").await);

    let told: Vec<_> = all.iter().filter(|line| !line.contains("the log goes on")).collect();
    assert_eq!(told.iter().collect::<HashSet<_>>().len(), told.len(), "{all:#?}");

    // It ends when the stack is gone.
    pair.near.act("deleteStack", ("prod", "shop"), json!({ "confirmName": "shop" })).await.unwrap();
    ends((follower, lines)).await;
}

#[tokio::test]
async fn a_log_ends_when_its_environment_is_reached_another_way() {
    let pair = Pair::linked(NO_ENGINE).await;
    pair.near.apply(&manifest("shop", 1)).await;
    pair.agree("shop", |_| true).await;
    let (follower, mut lines) = follow(&pair);
    until(&mut lines, "generation 1").await;
    pair.near.relay_to("prod", &format!("http://{}", pair.far.address), &pair.far.token());
    pair.way.cut();
    until(&mut lines, "the log ends here").await;
    ends((follower, lines)).await;
}
