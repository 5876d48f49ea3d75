//! A near Skep that is newer than the far one, and the other way round: what the older one cannot do as it was meant is not done
//! at all, and said.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::pair::{NO_ENGINE, Skep, manifest};
use crate::{stranger, waits};

/// A way to a server on which the bodies of `PUT` requests are changed.
async fn meddler(address: &str, change: impl Fn(&mut Value) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (address, change) = (address.to_owned(), Arc::new(change));
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&address).await.unwrap();
            let change = change.clone();
            let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
            tokio::spawn(async move {
                let mut held = Vec::new();
                while let Some(request) = next(&mut from_near, &mut held, change.as_ref()).await {
                    to_far.write_all(&request).await.ok()?;
                }
                Some(())
            });
        }
    });
    url
}

/// The next request, with its body as it is changed.
async fn next(
    from: &mut (impl AsyncReadExt + Unpin),
    held: &mut Vec<u8>,
    change: &impl Fn(&mut Value),
) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = held.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&held[..end]).into_owned();
            let length = |line: &str| line.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok();
            let whole = end + 4 + head.lines().find_map(length).unwrap_or(0);
            if held.len() >= whole {
                let request: Vec<u8> = held.drain(..whole).collect();
                if !head.starts_with("PUT ") {
                    return Some(request);
                }
                let mut body = serde_json::from_slice(&request[end + 4..]).unwrap();
                change(&mut body);
                let body = body.to_string();
                let lines = head.lines().filter(|line| length(line).is_none()).collect::<Vec<_>>().join("\r\n");
                return Some(format!("{lines}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes());
            }
        }
        if from.read_buf(held).await.ok()? == 0 {
            return None;
        }
    }
}

fn stalled(stack: &Value) -> bool {
    let stalled = |it: &Value| it["type"] == "Stalled" && it["status"] == "True";
    stack["conditions"].as_array().is_some_and(|all| all.iter().any(stalled))
}

#[tokio::test]
async fn what_an_older_far_skep_does_not_know_is_not_taken_without_it_and_said() {
    let (near, far) = tokio::join!(Skep::start(NO_ENGINE), Skep::start(NO_ENGINE));
    let url = meddler(&far.address, |body| match body["stack"]["key"]["name"].as_str().unwrap() {
        // What says nothing is not missed.
        "plain" => body["stack"]["spec"]["moon"] = json!({}),
        "shop" => body["stack"]["spec"]["policy"]["moon"] = json!({ "phase": "full" }),
        "asked" => body["deployments"][0]["origin"]["trigger"] = json!("Moonrise"),
        _ => body["tide"] = json!("high"),
    })
    .await;
    let token = far.run(&["token", "create", "near", "--role", "operator", "--environments", "default"]);
    near.relay_to("prod", &url, token.lines().last().unwrap());
    for name in ["plain", "shop", "asked", "other"] {
        near.apply(&manifest(name, 1)).await;
    }
    near.watch("prod", "plain").until("taken", 60, waits).await;
    for (name, words) in [
        ("shop", "is older and does not know `stack.spec.policy.moon`"),
        ("other", "is older and does not know `tide`"),
        ("asked", "must be updated"),
    ] {
        let shown = near.watch("prod", name).until("refused", 60, stalled).await;
        let message = shown["message"].as_str().unwrap();
        assert!(message.contains(words) && message.contains("must be updated"), "{message}");
        assert!(far.stack("default", name).await.is_null(), "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_known_is_told_on_its_stack_and_the_link_holds() {
    let near = Skep::start(NO_ENGINE).await;
    let newer = stranger(2, 1, "x").await;
    near.relay_to("prod", &newer.endpoint.replace("tcp://", "http://"), "token-of-the-far-one");
    near.apply(&manifest("odd", 1)).await;
    let shown = near.watch("prod", "odd").until("told", 60, stalled).await;
    let message = shown["message"].as_str().unwrap();
    assert!(message.contains("is newer") && message.contains("update this one"), "{message}");
    // The others go on.
    near.apply(&manifest("shop", 1)).await;
    newer.until_asked(|it| it.starts_with("PUT ") && it.ends_with("/shop")).await;
    let asked = newer.asked();
    assert_eq!(asked.iter().filter(|it| it.contains("/changes?")).count(), 1, "{asked:?}");
}
