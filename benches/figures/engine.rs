//! The engine, called bare: the floors, and the broom.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use super::http::Http;

/// The API version that is spoken: the oldest that Skep speaks, for every engine has it.
pub(crate) const API: &str = "/v1.41";

/// Names of all that a bench makes begin so.
pub(crate) const PREFIX: &str = "skb-";

/// The value of a query's `filters`, escaped as far as the engine needs it.
pub(crate) fn filters(filters: &Value) -> String {
    filters.to_string().replace('"', "%22").replace('{', "%7B").replace('}', "%7D").replace(' ', "%20")
}

async fn ids(http: &mut Http, kind: &str, named: &str) -> Vec<String> {
    // Not filtered by name: an engine was seen to give no network for the beginning of a name.
    let path = format!("{API}/{kind}");
    let all = http.ask(Method::GET, &path, &Value::Null).await;
    let of = |it: &Value| {
        let name = it["Name"].as_str().or_else(|| it["Spec"]["Name"].as_str()).unwrap_or_default();
        let id = it["ID"].as_str().or_else(|| it["Id"].as_str());
        id.filter(|_| name.starts_with(named)).map(str::to_owned)
    };
    all.as_array().into_iter().flatten().filter_map(of).collect()
}

/// Removes all that benches made, within a minute or two.
pub(crate) async fn clean(socket: &Path) {
    remove(socket, PREFIX).await;
}

/// Removes all objects whose name begins so.
pub(crate) async fn remove(socket: &Path, named: &str) {
    let end = Instant::now() + Duration::from_secs(120);
    let mut http = Http::unix(socket).await;
    loop {
        let mut left = 0;
        for kind in ["services", "networks", "configs", "secrets"] {
            let all = ids(&mut http, kind, named).await;
            left += all.len();
            let each = all.len().div_ceil(4).max(1);
            let removing = all.chunks(each).map(|some| remove_all(socket.to_owned(), kind, some.to_vec()));
            futures_util::future::join_all(removing.map(tokio::spawn)).await;
        }
        if left == 0 {
            return;
        }
        assert!(Instant::now() < end, "{left} objects named {named}… cannot be removed from the engine");
    }
}

async fn remove_all(socket: PathBuf, kind: &str, ids: Vec<String>) {
    let mut http = Http::unix(&socket).await;
    for id in ids {
        // A network that is still in use is tried again in the next round.
        http.call(Method::DELETE, &format!("{API}/{kind}/{id}"), bytes::Bytes::new()).await;
    }
}

async fn claims(http: &mut Http) -> Vec<Value> {
    let path = format!("{API}/configs?filters={}", filters(&json!({ "label": ["dev.skep.claim"] })));
    http.ask(Method::GET, &path, &Value::Null).await.as_array().cloned().unwrap_or_default()
}

/// Ends the bench when a Skep keeps this Swarm: the one that is measured could only look on.
pub(crate) async fn refuse_a_kept_swarm(socket: &Path) {
    let claims = claims(&mut Http::unix(socket).await).await;
    assert!(
        claims.is_empty(),
        "a Skep keeps the Swarm at {}: stop it and remove its claim (`docker config rm {}`), or name another engine with --docker",
        socket.display(),
        claims[0]["Spec"]["Name"].as_str().unwrap_or_default(),
    );
}

/// Removes the claims of the Skeps that were measured.
pub(crate) async fn remove_claims(socket: &Path) {
    let mut http = Http::unix(socket).await;
    for claim in claims(&mut http).await {
        let path = format!("{API}/configs/{}", claim["ID"].as_str().unwrap());
        http.ask(Method::DELETE, &path, &Value::Null).await;
    }
}

/// Labels as Skep puts them.
fn labels(stack: &str) -> Value {
    json!({
        "com.docker.stack.namespace": stack,
        "dev.skep.stack": format!("default/{stack}"),
        "dev.skep.instance": "01JDBENCH0000000000000000",
        "dev.skep.revision": "0123456789012345678901234567890123456789",
    })
}

/// A service with no replicas, as the stacks of these benches have it.
pub(crate) fn service(stack: &str, image: &str, network: Option<&str>, config: Option<(&str, &str)>) -> Value {
    let networks: Vec<Value> = network.iter().map(|id| json!({ "Target": id, "Aliases": ["web"] })).collect();
    let configs: Vec<Value> = config
        .iter()
        .map(|(id, name)| {
            let file = json!({ "Name": "/etc/app.conf", "UID": "0", "GID": "0", "Mode": 0o444 });
            json!({ "ConfigID": id, "ConfigName": name, "File": file })
        })
        .collect();
    json!({
        "Name": format!("{stack}_web"),
        "Labels": labels(stack),
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image, "Labels": labels(stack), "Args": ["serve"], "Env": ["A=1", "B=2"], "Configs": configs,
            },
            "Networks": networks,
        },
        "Mode": { "Replicated": { "Replicas": 0 } },
    })
}

/// The calls that one stack of the fleet takes: network, config, service.
pub(crate) async fn make_stack(http: &mut Http, stack: &str) {
    let network = json!({
        "Name": format!("{stack}_default"), "CheckDuplicate": true, "Driver": "overlay", "Labels": labels(stack),
    });
    let network = http.ask(Method::POST, &format!("{API}/networks/create"), &network).await;
    let name = format!("{stack}_app");
    let config = json!({ "Name": name, "Labels": labels(stack), "Data": "bGlzdGVuID0gMC4wLjAuMDo4MDgwCg==" });
    let config = http.ask(Method::POST, &format!("{API}/configs/create"), &config).await;
    let config = config["ID"].as_str().unwrap();
    let service = service(stack, "skep-bench:1", network["Id"].as_str(), Some((config, &name)));
    http.ask(Method::POST, &format!("{API}/services/create"), &service).await;
}
