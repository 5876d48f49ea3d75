//! Random compose files that both take: one, or two that are merged as the CLI merges them.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use crate::case::Case;
use skep::domain::Compat;

/// So many cases.
pub(crate) fn cases(count: usize) -> Vec<Case> {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    (0..count)
        .map(|index| {
            let mut some_file = || file().new_tree(&mut runner).expect("a file").current();
            let text = |file: &Value| serde_json::to_string_pretty(file).expect("JSON, which is YAML") + "\n";
            let first = some_file();
            let mut files = vec![("stack.yml".to_owned(), text(&first))];
            let two = index % 2 == 1;
            if two {
                files.push(("over.yml".to_owned(), text(&over(some_file(), &first))));
            }
            let compose = files.len();
            files.push(("data.txt".to_owned(), format!("data {index}\n")));
            files.push(("one.env".to_owned(), "A=one\nB=1\nTAKEN\n".to_owned()));
            files.push(("two.env".to_owned(), "# two\nA=two\nC=\nGONE\n".to_owned()));
            // An empty value takes the variable by the one way of reading, and stays by the other.
            let variables = [("TAKEN", "from outside"), ("B", "b"), ("EMPTY", "")];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let variables = variables.into_iter().filter(|_| two).collect();
            let compat = if two { Compat::Cli } else { Compat::Strict };
            let name = format!("generated {index}");
            Case { name, compat, variables, files, compose, one_way: two, ..Case::default() }
        })
        .collect()
}

/// A file for on top of another: a service in both keeps its mode and place.
fn over(mut file: Value, base: &Value) -> Value {
    for (name, service) in file["services"].as_object_mut().into_iter().flatten() {
        if let Some(deploy) = service["deploy"].as_object_mut().filter(|_| base["services"].get(name).is_some()) {
            deploy.retain(|key, _| !matches!(key.as_str(), "mode" | "replicas" | "placement"));
        }
    }
    file
}

fn file() -> impl Strategy<Value = Value> {
    (prop::collection::vec(service(), 1..4), prop::option::of(network()), prop::option::of(volume())).prop_map(
        |(services, network, volume)| {
            let services: Map<String, Value> =
                services.into_iter().enumerate().map(|(index, service)| (format!("s{index}"), service)).collect();
            json!({
                "services": services,
                "networks": {"n1": network, "n2": {}},
                "volumes": {"v1": volume},
                "configs": {"c1": {"file": "data.txt"}, "c2": {"file": "data.txt", "labels": {"a": "b"}}},
                "secrets": {"k1": {"file": "data.txt"}},
            })
        },
    )
}

/// Keys, each of which may be left out.
fn some(keys: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Map<String, Value>> {
    let keys: Vec<_> =
        keys.into_iter().map(|(key, value)| prop::option::of(value).prop_map(move |value| (key, value))).collect();
    keys.prop_map(|keys| {
        keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Map<_, _>>()
    })
}

fn one_of(values: &[Value]) -> BoxedStrategy<Value> {
    prop::sample::select(values.to_vec()).boxed()
}

/// Nothing twice: the CLI refuses that in most lists.
fn list(item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let once = |mut items: Vec<Value>| {
        let mut seen = std::collections::BTreeSet::new();
        items.retain(|item| seen.insert(item.to_string()));
        Value::Array(items)
    };
    prop::collection::vec(item, 0..4).prop_map(once).boxed()
}

fn flag() -> BoxedStrategy<Value> {
    any::<bool>().prop_map(Value::Bool).boxed()
}

fn text() -> BoxedStrategy<Value> {
    "[a-zA-Z0-9 _./:#'\"=,-]{1,20}".prop_map(|text| json!(text.trim().to_owned() + "x")).boxed()
}

fn pairs() -> BoxedStrategy<Value> {
    let value = prop_oneof![
        text(),
        (-1000_i64..1_000_000).prop_map(|n| json!(n)),
        (-100.0..100.0_f64).prop_map(|n| json!(n)),
        Just(Value::Null),
        Just(json!("")),
    ];
    let map = prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_.]{0,6}", value, 0..4).prop_map(|map| json!(map));
    let items = prop::collection::btree_set("[a-zA-Z_][a-zA-Z0-9_]{0,6}(=[a-z =\"]{0,6})?", 0..4);
    let items = items.prop_map(|items| {
        let mut seen = std::collections::BTreeSet::new();
        let name = |item: &String| item.split('=').next().unwrap_or_default().to_owned();
        json!(items.into_iter().filter(|item| seen.insert(name(item))).collect::<Vec<_>>())
    });
    prop_oneof![map, items].boxed()
}

/// Some of the names are variables too.
fn environment() -> BoxedStrategy<Value> {
    let value = one_of(&[json!("own"), json!(""), Value::Null, json!("${TAKEN-}/${EMPTY:-none}${GONE-}"), json!(5)]);
    let name = prop::sample::select(vec!["A", "B", "C", "TAKEN", "EMPTY", "GONE"]);
    let map = prop::collection::btree_map(name, value, 0..5).prop_map(|map| json!(map));
    prop_oneof![map, pairs()].boxed()
}

fn duration() -> BoxedStrategy<Value> {
    prop_oneof![
        (1_u32..500).prop_map(|n| json!(format!("{n}ms"))),
        (0_u32..90).prop_map(|n| json!(format!("{n}s"))),
        (1_u32..5, 0_u32..60).prop_map(|(m, s)| json!(format!("{m}m{s}s"))),
        Just(json!("1.5h")),
    ]
    .boxed()
}

fn words() -> BoxedStrategy<Value> {
    prop_oneof![
        "[a-z]{1,5}( [a-z$]{0,5}| '[a-z \"]{0,5}'| \"[a-z ']{0,5}\"){0,3}"
            .prop_map(|text| json!(text.replace('$', "$$"))),
        prop::collection::vec("[a-z \"']{1,6}", 0..4).prop_map(|list| json!(list)),
    ]
    .boxed()
}

fn service() -> impl Strategy<Value = Value> {
    let check = some(vec![
        ("test", prop_oneof![text(), Just(json!(["CMD", "true"])), Just(json!(["NONE"]))].boxed()),
        ("interval", duration()),
        ("timeout", duration()),
        ("start_period", duration()),
        ("retries", (0..9).prop_map(|n| json!(n)).boxed()),
    ]);
    let limit = prop_oneof![
        (1..999).prop_map(|n| json!(n)),
        (1..99, 100..999).prop_map(|(soft, hard)| json!({"soft": soft, "hard": hard}))
    ];
    let port = prop_oneof![
        (1..999).prop_map(|n| json!(n)),
        (1..999).prop_map(|n| json!(format!("{n}/udp"))),
        (1..999, prop::sample::select(vec!["tcp", "udp", "sctp"]))
            .prop_map(|(n, protocol)| json!({"target": n, "protocol": protocol, "mode": "host"})),
    ];
    let mount = prop_oneof![
        Just(json!("v1:/a")),
        Just(json!("/srv:/b:ro")),
        Just(json!("/c")),
        Just(json!("v1:/d:nocopy,ro")),
        Just(json!({"type": "tmpfs", "target": "/e", "tmpfs": {"size": 1000}})),
        Just(json!({"type": "bind", "source": "/srv", "target": "/f", "bind": {"propagation": "rslave"}})),
    ];
    let mounts = prop::collection::vec(mount, 0..3).prop_map(|mut mounts| {
        mounts.sort_by_key(Value::to_string);
        mounts.dedup();
        json!(mounts)
    });
    let extra = "[a-z]{1,8}".prop_map(|name| json!(format!("{name}:10.0.0.1"))).boxed();
    let keys = vec![
        ("command", words()),
        ("entrypoint", words()),
        ("environment", environment()),
        ("env_file", one_of(&[json!("one.env"), json!(["two.env", "one.env"]), json!(["two.env"])])),
        ("labels", pairs()),
        ("hostname", text()),
        ("user", one_of(&[json!("1000"), json!("a:b")])),
        ("working_dir", one_of(&[json!("/srv")])),
        ("tty", flag()),
        ("stdin_open", flag()),
        ("read_only", flag()),
        ("init", flag()),
        ("stop_signal", one_of(&[json!("SIGINT"), json!("9")])),
        ("stop_grace_period", duration()),
        ("healthcheck", check.prop_map(Value::Object).boxed()),
        ("extra_hosts", list(extra)),
        ("dns", one_of(&[json!("1.1.1.1"), json!(["1.1.1.1", "::1"]), json!([])])),
        ("dns_search", one_of(&[json!("a.b"), json!(["a.b", "c"])])),
        ("cap_add", list(one_of(&[json!("net_admin"), json!("CAP_CHOWN"), json!("ALL")]))),
        ("cap_drop", list(one_of(&[json!("NET_ADMIN"), json!("all"), json!("kill")]))),
        ("sysctls", prop::collection::btree_map("[a-z]{1,4}", 0..9_i32, 0..3).prop_map(|map| json!(map)).boxed()),
        ("ulimits", prop::collection::btree_map("[a-z]{1,6}", limit, 0..3).prop_map(|map| json!(map)).boxed()),
        (
            "logging",
            one_of(&[json!({"driver": "json-file"}), json!({"driver": "none", "options": {"a": 1, "b": null}})]),
        ),
        ("networks", one_of(&[json!(["n1"]), json!({"n1": {"aliases": ["x", "y"]}, "n2": null}), json!([])])),
        ("ports", list(port.boxed())),
        ("volumes", mounts.boxed()),
        ("configs", one_of(&[json!(["c1"]), json!(["c2", {"source": "c1", "target": "/x", "mode": 0o400}])])),
        ("secrets", one_of(&[json!(["k1"]), json!([{"source": "k1", "uid": "5", "gid": "6"}])])),
        ("restart", one_of(&[json!("always"), json!("on-failure:3"), json!("unless-stopped"), json!("no")])),
    ];
    (some(keys), deploy()).prop_map(|(mut service, deploy)| {
        service.insert("image".to_owned(), json!("skep-example:1"));
        service.insert("deploy".to_owned(), deploy);
        Value::Object(service)
    })
}

fn deploy() -> impl Strategy<Value = Value> {
    let update = || {
        let keys = vec![
            ("parallelism", (0..4).prop_map(|n| json!(n)).boxed()),
            ("delay", duration()),
            ("failure_action", one_of(&[json!("pause"), json!("continue"), json!("rollback")])),
            ("monitor", duration()),
            ("max_failure_ratio", (0..=10).prop_map(|n| json!(f64::from(n) / 10.0)).boxed()),
            ("order", one_of(&[json!("start-first"), json!("stop-first")])),
        ];
        some(keys).prop_map(Value::Object).boxed()
    };
    let policy = vec![
        ("condition", one_of(&[json!("none"), json!("any"), json!("on-failure")])),
        ("delay", duration()),
        ("max_attempts", (0..4).prop_map(|n| json!(n)).boxed()),
        ("window", duration()),
    ];
    let amounts = |limits: bool| {
        let mut keys = vec![
            ("cpus", one_of(&[json!("0.5"), json!("2"), json!("0.001")])),
            ("memory", one_of(&[json!("4m"), json!("1.5G"), json!("64MiB"), json!("100000000")])),
        ];
        if limits {
            keys.push(("pids", (1..99).prop_map(|n| json!(n)).boxed()));
        }
        some(keys).prop_map(Value::Object).boxed()
    };
    let resources = some(vec![("limits", amounts(true)), ("reservations", amounts(false))]);
    let placement = some(vec![
        ("preferences", one_of(&[json!([{"spread": "node.labels.a"}])])),
        ("max_replicas_per_node", (0..3).prop_map(|n| json!(n)).boxed()),
    ]);
    let keys = vec![
        ("labels", pairs()),
        ("update_config", update()),
        ("rollback_config", update()),
        ("restart_policy", some(policy).prop_map(Value::Object).boxed()),
        ("resources", resources.prop_map(Value::Object).boxed()),
    ];
    (some(keys), placement, any::<bool>()).prop_map(|(mut deploy, mut placement, global)| {
        if global {
            deploy.insert("mode".to_owned(), json!("global"));
            placement.insert("constraints".to_owned(), json!(["node.labels.cmp == never"]));
            placement.remove("max_replicas_per_node");
        } else {
            deploy.insert("replicas".to_owned(), json!(0));
        }
        deploy.insert("placement".to_owned(), Value::Object(placement));
        Value::Object(deploy)
    })
}

fn network() -> impl Strategy<Value = Value> {
    let keys = vec![
        ("attachable", flag()),
        ("internal", flag()),
        ("driver_opts", one_of(&[json!({"x": 1}), json!({"encrypted": ""})])),
        ("labels", pairs()),
    ];
    some(keys).prop_map(Value::Object)
}

fn volume() -> impl Strategy<Value = Value> {
    let keys = vec![
        ("driver", one_of(&[json!("local"), json!("other")])),
        ("driver_opts", one_of(&[json!({"type": "nfs", "n": 5}), json!({})])),
        ("labels", pairs()),
        ("name", one_of(&[json!("named")])),
    ];
    some(keys).prop_map(Value::Object)
}
