//! How much is taken.

use super::*;

#[tokio::test]
async fn a_sender_of_forgeries_is_turned_away_and_the_right_one_is_not() {
    let world = world().await;
    let mut codes = std::collections::BTreeMap::new();
    for n in 0..80 {
        let answer = world.send(github(&world, "shop-push", &format!("bad{n}"), &push("main"))).await;
        if answer.status == 429 {
            assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        }
        *codes.entry(answer.status).or_insert(0) += 1;
    }
    assert!(codes[&401] >= 60 && codes[&429] >= 10, "{codes:?}");
    assert_eq!(deliver(&world, "good", &push("main")).await.status, 202);
}

#[tokio::test]
async fn a_hook_that_is_sent_too_much_asks_for_time_and_keeps_no_other_back() {
    let world = World::with(ApiOptions { hook_rate: 1, ..ApiOptions::default() }).await;
    world.apply(HOOKS).await;
    world.declare("shop").await;
    let mut taken = 0;
    // Ten at once, and one more for each second that this takes.
    let refused = loop {
        let answer = deliver(&world, &format!("n{taken}"), &push("none")).await;
        if answer.status != 202 {
            break answer;
        }
        taken += 1;
        assert!(taken < 100, "there is no end to it");
    };
    assert!(taken >= 10, "{taken}");
    assert_eq!((refused.status, refused.json()["code"].clone()), (429, json!("BUSY")));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert!(refused.json()["hint"].as_str().unwrap().contains("--hook-rate"), "{}", refused.text);
    let known = world.ledger.deliveries("shop-push", 200).unwrap();
    assert_eq!(known.len(), taken, "what is turned away is not kept");
    // Nobody else's share is used up by it, and what is not proven uses up nobody's.
    let body = json!({ "image": { "tag": "1.4.2" } }).to_string();
    assert_eq!(world.send(generic(&world, Some("a"), &body)).await.status, 202);
    let forged = world.send(github(&world, "shop-push", "bad", &push("main"))).await;
    assert_eq!(forged.status, 401);
}
