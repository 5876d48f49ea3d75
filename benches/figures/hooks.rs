//! Deliveries of hooks, by many senders at once: each signed, each a deployment, each durable before it is answered. Beside it the
//! bare store: as many writers, each transaction with the very records that one delivery left behind.
//!
//! The stacks are suspended: what is measured is that they are recorded. Count in has to be count recorded, or it ends here.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use skep::ports::{Scan, Store, Transaction, Write};
use skep::store::sled::SledStore;
use tempfile::TempDir;

use super::Options;
use super::http::Http;
use super::skep::Skep;
use super::stats::{Samples, ms, row, table};

const SECRET: &str = "a-secret-of-the-bench";
/// Bytes of what a sender tells beside the version: as much as a push of a few commits.
const FILLED: usize = 4096;

pub(crate) async fn measure(options: &Options) {
    let (clients, each) = (options.number("clients", 64), options.number("each", 100));
    let skep = Skep::start(options, &options.docker_url()).await;
    let mut manifests = Vec::new();
    for place in 0..clients {
        manifests.push(format!(
            "kind: Stack\nname: skb-h{place}\ninline: |\n  services:\n    web:\n      image: skep-bench:0\n      \
             deploy: {{ replicas: 0 }}\n"
        ));
        manifests.push(format!(
            "kind: Hook\nname: skb-h{place}\nprovider: Generic\nsecret: {{ value: {SECRET} }}\n\
             rules: [{{ stacks: [skb-h{place}], set: {{ images.web: image.tag }} }}]\n"
        ));
    }
    skep.apply(&manifests).await;
    skep.converged(clients, Duration::from_secs(120)).await;
    let mut api = skep.client().await;
    let suspend = "mutation($input: SuspendStackInput!) { suspendStack(input: $input) { userErrors { message } } }";
    for place in 0..clients {
        let stack = json!({ "name": format!("skb-h{place}"), "environment": "default" });
        let answer = api.graphql(suspend, json!({ "input": { "stack": stack, "reason": "a bench" } })).await;
        assert_eq!(answer["suspendStack"]["userErrors"], json!([]));
    }
    let before = generations(&mut api, clients).await;

    // What is sent is made beforehand: senders are somebody else's time.
    let mut senders = Vec::new();
    for place in 0..clients {
        senders.push((skep.client().await, deliveries(place, each)));
    }
    let begun = Instant::now();
    let running: Vec<_> = senders.into_iter().map(|(http, deliveries)| tokio::spawn(send(http, deliveries))).collect();
    let mut samples = Samples::default();
    for sender in running {
        sender.await.unwrap().into_iter().for_each(|time| samples.add(time));
    }
    let took = begun.elapsed();

    let sent = clients * each;
    let recorded: u64 =
        generations(&mut api, clients).await.iter().zip(&before).map(|(now, before)| now - before).sum();
    assert_eq!(recorded, sent as u64, "count in = count recorded");
    drop(api);
    let folder = skep.end();
    let records = of_one_delivery(folder.path());
    let beside = TempDir::with_prefix_in("skep-bench-", folder.path().parent().unwrap()).unwrap();
    let (bare, bare_samples) = bare_store(beside.path(), &records, clients, each).await;

    let rate = |took: Duration| sent as f64 / took.as_secs_f64();
    let line = |name: &str, took: Duration, samples: &Samples| {
        let of = format!("{:.2}", rate(took) / rate(bare));
        row([name, &format!("{:.0}", rate(took)), &of, &ms(samples.median()), &ms(samples.p99())])
    };
    table(
        &format!("{sent} deliveries by {clients} senders at once, each durable before it is answered"),
        &[
            row(["", "a second", "of the bare store", "median", "p99"]),
            line("Skep: checked, mapped, recorded", took, &samples),
            line("the bare store: the same records", bare, &bare_samples),
        ],
    );
    println!("  count in = count recorded: {recorded} of {sent}");
    let bytes: usize = records.iter().map(|(_, value)| value.len()).sum();
    println!("  a delivery leaves {} records of {bytes} bytes", records.len());
}

/// Body, id and signature of each delivery.
type Delivery = (String, String, String);

fn deliveries(place: usize, each: usize) -> Vec<Delivery> {
    let filled = "x".repeat(FILLED);
    (0..each)
        .map(|number| {
            let body = json!({ "image": { "tag": format!("{}", number + 1) }, "log": filled }).to_string();
            let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(body.as_bytes());
            let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            (body, format!("{place}-{number}"), format!("sha256={hex}"))
        })
        .collect()
}

async fn send(mut http: Http, deliveries: Vec<Delivery>) -> Vec<Duration> {
    let mut times = Vec::with_capacity(deliveries.len());
    for (body, id, signature) in deliveries {
        let place = id.split('-').next().unwrap_or_default().to_owned();
        let headers = [("x-skep-delivery", id), ("x-skep-signature-256", signature)];
        let begun = Instant::now();
        let (status, answer) = http.post(&format!("/hooks/skb-h{place}"), &headers, body.into()).await;
        times.push(begun.elapsed());
        assert_eq!(status, 202, "{}", String::from_utf8_lossy(&answer));
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["deployments"].as_array().map(Vec::len), Some(1), "{answer}");
    }
    times
}

async fn generations(api: &mut Http, clients: usize) -> Vec<u64> {
    let mut found = Vec::with_capacity(clients);
    for place in 0..clients {
        let query = format!("{{ stack(name: \"skb-h{place}\", environment: \"default\") {{ generation }} }}");
        found.push(api.graphql(&query, json!({})).await["stack"]["generation"].as_u64().unwrap());
    }
    found
}

/// What the newest delivery left in the store: the keys, and the bytes behind them.
fn of_one_delivery(data: &Path) -> Vec<(String, Vec<u8>)> {
    let store = SledStore::open(data).unwrap();
    let newest = |prefix: &str, many: usize| -> Vec<(String, Vec<u8>)> {
        let scan = Scan { prefix: prefix.to_owned(), after: None, backwards: true, limit: many };
        store.scan(&scan).unwrap().into_iter().map(|entry| (entry.key, entry.value.to_vec())).collect()
    };
    // Generation changed, deployment recorded, delivery received.
    [("stack/", 1), ("deployment/", 1), ("history/", 1), ("once/delivery/", 1), ("delivery/", 1), ("delivery-body/", 1)]
        .into_iter()
        .chain([("event/", 3)])
        .flat_map(|(prefix, many)| newest(prefix, many))
        .collect()
}

/// As many writers commit as many transactions of the same records, each under keys of its own but for the stack's.
async fn bare_store(folder: &Path, records: &[(String, Vec<u8>)], writers: usize, each: usize) -> (Duration, Samples) {
    let store = Arc::new(SledStore::open(folder).unwrap());
    let records: Arc<Vec<(String, Vec<u8>)>> = Arc::new(records.to_vec());
    let begun = Instant::now();
    let running: Vec<_> = (0..writers)
        .map(|writer| {
            let (store, records) = (store.clone(), records.clone());
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(each);
                for number in 0..each {
                    let writes = records.iter().map(|(key, value)| match key.split_once('/') {
                        Some(("event", _)) => Write::Append { log: "event".into(), value: value.clone() },
                        Some(("stack", _)) => Write::Put { key: format!("{key}{writer}"), value: value.clone() },
                        _ => Write::Put { key: format!("{key}-{writer}-{number}"), value: value.clone() },
                    });
                    let transaction = Transaction { expects: Vec::new(), writes: writes.collect() };
                    let begun = Instant::now();
                    store.commit(transaction).await.unwrap();
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    let mut samples = Samples::default();
    for writer in running {
        writer.await.unwrap().into_iter().for_each(|time| samples.add(time));
    }
    (begun.elapsed(), samples)
}
