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

/// A loop within a loop over what a stranger may send: the delivery is refused, and its sender and the list are told so.
#[tokio::test]
async fn a_rule_that_costs_too_much_ends_and_refuses_the_delivery() {
    let world = world().await;
    let hook = |name: &str, rule: &str| {
        let head = format!("kind: Hook\nname: {name}\nprovider: Generic\nsecret: {{ value: \"{SECRET}\" }}\n");
        format!("{head}rules: [{{ {rule} }}]\n")
    };
    let costly = "list.exists(a, list.exists(b, list.exists(c, a + b + c == -1)))";
    world.apply(&hook("costly", &format!("when: '{costly}', stacks: [shop]"))).await;
    world.apply(&hook("dear", &format!("stacks: [shop], set: {{ ref: 'string({costly})' }}"))).await;
    let body = json!({ "list": vec![1; 10_000] }).to_string();
    let send = |hook: &str, body: &str| {
        let request = world.http.post(format!("http://{}/hooks/{hook}", world.address));
        let request = request.header("content-type", "application/json").header("x-skep-delivery", "one");
        world.send(request.header("x-skep-signature-256", sign(body)).body(body.to_owned()))
    };
    let answer = send("costly", &body).await;
    assert_eq!((answer.status, answer.json()["code"].clone()), (422, json!("INVALID")), "{}", answer.text);
    assert!(answer.json()["message"].as_str().unwrap().contains("over this payload"), "{}", answer.text);
    assert!(answer.json()["hint"].as_str().unwrap().contains("mend the hook's rule"), "{}", answer.text);
    let listed = world.ledger.deliveries("costly", 10).unwrap();
    assert!(matches!(&listed[0].idle, Some(skep::ledger::Idle::Refused(why)) if why.contains("`when`")), "{listed:?}");
    // Its id is still good, for the rule may be mended.
    let mended = hook("costly", "when: 'list.exists(a, a == 1)', stacks: [shop]");
    world.apply(&mended).await;
    assert_eq!(send("costly", &body).await.status, 202);
    // One that gives a value keeps its own stacks from theirs alone.
    let answer = send("dear", &body).await;
    assert_eq!((answer.status, answer.json()["deployments"].clone()), (202, json!([])), "{}", answer.text);
    assert!(answer.json()["refused"][0]["message"].as_str().unwrap().contains("over this payload"), "{}", answer.text);
}
