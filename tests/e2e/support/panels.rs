//! What the panels of `examples/monitoring` show of two looks at `/metrics`, a minute apart: PromQL by Prometheus' own tool.

use std::process::Command;

use serde_json::{Value, json};

/// The samples of both looks, as series with a value at each minute. What was not there at first had not been counted.
fn series(before: &str, after: &str) -> Vec<Value> {
    let samples = |text: &str| -> Vec<(String, String)> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.rsplit_once(' ')).map(|(name, value)| (name.into(), value.into())).collect()
    };
    let earlier = samples(before);
    let at_first = |name: &str| earlier.iter().find(|(it, _)| it == name).map_or("0", |(_, value)| value);
    samples(after)
        .iter()
        .map(|(name, value)| json!({ "series": name, "values": format!("{} {value}", at_first(name)) }))
        .collect()
}

/// The panels' expressions that show nothing, each with the title of its panel.
pub(crate) fn empty(before: &str, after: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("panel.json");
    let series = series(before, after);
    let shows = |expression: &str| {
        let expression = expression.replace("$__rate_interval", "5m").replace("$__range", "1h");
        let expected = json!({
            "expr": format!("count({expression}) > bool 0"),
            "eval_time": "1m",
            "exp_samples": [{ "labels": "{}", "value": 1 }],
        });
        let test = json!({ "interval": "1m", "input_series": series, "promql_expr_test": [expected] });
        std::fs::write(&file, json!({ "evaluation_interval": "1m", "tests": [test] }).to_string()).unwrap();
        let tested = Command::new("promtool").args(["test", "rules"]).arg(&file).output();
        let tested = tested.expect("promtool, which .ci/setup brings");
        let said = String::from_utf8_lossy(&[tested.stdout, tested.stderr].concat()).into_owned();
        assert!(tested.status.success() || said.contains("got: nil"), "{expression}: {said}");
        tested.status.success()
    };
    let board = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/monitoring/dashboard.json");
    let board: Value = serde_json::from_slice(&std::fs::read(board).unwrap()).unwrap();
    let mut empty = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            if !shows(expression) {
                empty.push(format!("{}: {expression}", panel["title"].as_str().unwrap()));
            }
        }
    }
    empty
}
