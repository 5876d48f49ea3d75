//! Rules and panels ask for nothing that `/metrics` does not say.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use skep::telemetry::Meters;

use crate::{Server, file};

/// The text of a server that has a stack: without one there are no phases to count.
fn metrics() -> String {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&[], &data);
    let manifest = folder.path().join("shop.yml");
    fs::write(&manifest, "kind: Stack\nname: shop\ninline: |\n  services: { web: { image: skep-example:1 } }\n")
        .unwrap();
    let applied = server.cli(&data, &["apply", "-f", manifest.to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
    let text = Command::new("curl").args(["-fsS", &format!("{}/metrics", server.address)]).output().unwrap();
    assert!(text.status.success(), "{text:?}");
    String::from_utf8(text.stdout).unwrap()
}

fn promtool(arguments: &[&str], input: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitoring");
    let mut command = Command::new("promtool");
    let child = command.args(arguments).current_dir(folder).stdin(Stdio::piped());
    let mut child =
        child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool, of the package prometheus");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "promtool {arguments:?}: {output:?}");
}

/// Every expression of the rules and of the panels.
fn expressions() -> Vec<String> {
    let rules = file("examples/monitoring/alerts.yml");
    let of_rules = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned);
    let dashboard: serde_json::Value = serde_json::from_str(&file("examples/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    of_rules.chain(targets.map(|target| target["expr"].as_str().unwrap().to_owned())).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

#[test]
fn what_is_asked_of_the_metrics_is_there() {
    let text = metrics();
    promtool(&["check", "metrics"], &text);
    let mut there: BTreeSet<&str> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| words(line).next()).collect();
    // What has not happened yet has no series; that these are counted when it does is shown on the engine.
    let meters = Meters::new();
    there.extend(meters.names().iter().map(String::as_str));
    let expressions = expressions();
    assert!(expressions.len() >= 12, "{expressions:?}");
    let (phases, docs) = (file("schema.graphql"), file("docs/reference/metrics.md"));
    for name in &there {
        // A histogram's three are one to people.
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|it| name.strip_suffix(it)).unwrap_or(name);
        assert!(docs.contains(&format!("`{name}")), "docs/reference/metrics.md does not tell of {name}");
    }
    for name in docs.lines().filter_map(|line| line.strip_prefix("| `skep_")?.split(['{', '`']).next()) {
        let histogram = format!("skep_{name}_bucket");
        let known = there.contains(format!("skep_{name}").as_str()) || there.contains(histogram.as_str());
        assert!(known, "docs/reference/metrics.md tells of skep_{name}, and there is none");
    }
    for expression in &expressions {
        let asked: Vec<_> = words(expression).filter(|word| word.starts_with("skep_")).collect();
        assert!(!asked.is_empty(), "{expression}");
        for name in asked {
            assert!(there.contains(name), "{expression}: there is no metric {name} among {there:?}");
        }
        // What stands in quotes are words of the API, or of outcomes.
        for word in expression.split('"').skip(1).step_by(2).flat_map(words) {
            let told = docs.contains(&format!("`{word}`"));
            assert!(told || phases.lines().any(|line| line.trim() == word), "{expression}: there is no {word}");
        }
    }
}

#[test]
fn what_the_panels_ask_is_promql() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |(index, expression): (usize, String)| {
        let expression = expression.replace("$__rate_interval", "5m").replace("$__range", "1h");
        serde_json::json!({ "record": format!("panel:{index}"), "expr": expression })
    };
    let rules: Vec<_> = expressions().into_iter().enumerate().map(rule).collect();
    let file = folder.path().join("panels.json");
    let check = |rules: &[serde_json::Value]| {
        let groups = serde_json::json!({ "groups": [{ "name": "panels", "rules": rules }] });
        fs::write(&file, groups.to_string()).unwrap();
        Command::new("promtool").args(["check", "rules"]).arg(&file).output().unwrap()
    };
    let output = check(&rules);
    assert!(output.status.success(), "{output:?}");
    let broken = serde_json::json!({ "record": "panel:x", "expr": "sum by (outcome (up)" });
    assert!(!check(&[broken]).status.success(), "what is no PromQL is told");
}

#[test]
fn the_rules_fire_when_they_should() {
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "alerts.test.yml"], "");
}
