//! Credentials, tokens, and one environment with its nodes.

use jiff::Timestamp;

use super::{Facts, lines};
use crate::cli::console::{Paint, Tone, clean};
use crate::cli::model::{Credential, CredentialUse, Environment, Node, Token};
use crate::cli::table::{Cell, Table};
use crate::cli::text::{age, or_none};

/// A line for each credential.
pub(in crate::cli) fn credentials(credentials: &[Credential], now: Timestamp) -> Table {
    let mut table = Table::new(&["CREDENTIAL", "TYPE", "MAY GO TO", "HOLDS", "CHANGED", "USED BY"]);
    for it in credentials {
        let users: Vec<String> = it.used_by.iter().map(user).collect();
        table.row([
            Cell::from(it.name.as_str()),
            it.kind.as_str().into(),
            or_none(Some(&it.hosts.iter().chain(&it.stacks).map(String::as_str).collect::<Vec<_>>().join(" "))).into(),
            or_none(Some(&it.keys.join(" "))).into(),
            age(it.updated_at, now).into(),
            or_none(Some(&users.join(" "))).into(),
        ]);
    }
    table
}

/// A line for each token.
pub(in crate::cli) fn tokens(tokens: &[Token], now: Timestamp) -> Table {
    let mut table = Table::new(&["TOKEN", "ROLE", "ENVIRONMENTS", "STACKS", "AGE", "LAST USED", "ENDS"]);
    for it in tokens {
        let ends = match it.expires_at {
            Some(end) if end <= now => Cell::toned("has ended", Tone::Bad),
            Some(end) => Cell::from(format!("in {}", age(now, end))),
            None => Cell::from("never"),
        };
        table.row([
            Cell::from(it.name.as_str()),
            it.role.as_str().into(),
            it.environments.join(" ").into(),
            it.stacks.join(" ").into(),
            age(it.created_at, now).into(),
            it.last_used_at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", age(at, now))).into(),
            ends,
        ]);
    }
    table
}

fn user(it: &CredentialUse) -> String {
    let kind = it.kind.to_lowercase();
    match it.environment.as_deref() {
        Some(environment) if environment != "default" => format!("{kind}/{environment}/{}", it.name),
        _ => format!("{kind}/{}", it.name),
    }
}

/// One environment and its nodes.
pub(in crate::cli) fn environment(it: &Environment, now: Timestamp, paint: Paint) -> String {
    let (word, tone) = match it.connected {
        Some(true) => ("connected", Tone::Good),
        Some(false) => ("not connected", Tone::Bad),
        None => ("not looked at yet", Tone::Warn),
    };
    let since = it.since.map(|since| format!(" for {}", age(since, now))).unwrap_or_default();
    let mut text = format!("{}  {}{since}\n", clean(&it.name), paint.tone(tone, word));
    let mut facts = Facts::default();
    facts.say(if it.relay.is_some() { "reached by" } else { "endpoints" }, clean(&it.place()));
    if let Some(relay) = &it.relay {
        facts.say("token", format!("credential {}", clean(&relay.credential)));
    }
    for (name, credential) in [("tls", &it.tls), ("ssh", &it.ssh)] {
        if let Some(credential) = credential {
            facts.say(name, format!("credential {}", clean(credential)));
        }
    }
    if let Some(engine) = &it.engine {
        facts.say("engine", format!("{} (API {})", clean(engine), clean(it.api.as_deref().unwrap_or("unknown"))));
    }
    for line in it.message.as_deref().map(lines).unwrap_or_default() {
        facts.say("message", line);
    }
    text.push_str(&facts.render(paint));
    if !it.nodes.is_empty() {
        text.push('\n');
        text.push_str(&nodes(&it.nodes).render(paint, None));
    }
    text.trim_end().to_owned()
}

/// A line for each node.
fn nodes(nodes: &[Node]) -> Table {
    let mut table =
        Table::new(&["NODE", "ROLE", "STATE", "AVAILABILITY", "ADDRESS", "ENGINE", "CPUS", "MEMORY", "LABELS"]);
    for it in nodes {
        let role = if it.leader { "Leader" } else { it.role.as_str() };
        let state = if it.state == "Ready" { Tone::Good } else { Tone::Bad };
        let labels: Vec<String> = it.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        table.row([
            Cell::from(it.hostname.as_str()),
            role.into(),
            Cell::toned(&it.state, state),
            it.availability.as_str().into(),
            or_none(Some(&it.addr)).into(),
            it.engine.as_str().into(),
            format!("{}", it.cpus).into(),
            memory(it.memory).into(),
            or_none(Some(&labels.join(" "))).into(),
        ]);
    }
    table
}

/// How many nodes of how many take tasks, and what they have together: `3 nodes, 12 CPUs, 47.1 GiB`.
pub(super) fn capacity(nodes: &[Node]) -> String {
    let ready: Vec<&Node> =
        nodes.iter().filter(|node| node.state == "Ready" && node.availability == "Active").collect();
    let cpus: f64 = ready.iter().map(|node| node.cpus).sum();
    let bytes: u64 = ready.iter().map(|node| node.memory).sum();
    format!("{}/{} nodes, {cpus} CPUs, {}", ready.len(), nodes.len(), memory(bytes))
}

fn memory(bytes: u64) -> String {
    // One digit behind the point is all anybody reads.
    let tenths = (u128::from(bytes) * 10) >> 30;
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::model::read;

    #[test]
    fn credentials_are_lines_without_values() {
        let list: Vec<Credential> = read(&json!([
            { "name": "shop-git", "type": "GitToken", "hosts": ["git.example.org"], "keys": ["token"],
              "createdAt": "2026-01-31T11:00:00Z", "updatedAt": "2026-01-31T11:00:00Z",
              "usedBy": [{ "kind": "Stack", "name": "shop", "environment": "default" },
                         { "kind": "Stack", "name": "shop", "environment": "prod" },
                         { "kind": "Hook", "name": "push", "environment": null }] },
        ]))
        .unwrap();
        let table = credentials(&list, "2026-01-31T12:00:00Z".parse().unwrap());
        insta::assert_snapshot!(table.render(Paint(false), None), @r"
        CREDENTIAL  TYPE      MAY GO TO        HOLDS  CHANGED  USED BY
        shop-git    GitToken  git.example.org  token  60m      stack/shop stack/prod/shop hook/push
        ");
    }

    #[test]
    fn an_environment_shows_its_nodes() {
        let it: Environment = read(&json!({
            "name": "prod", "endpoints": ["tcp://a:2376"], "tls": "prod-tls", "ssh": null, "connected": true,
            "since": "2026-01-31T11:00:00Z", "message": null, "engine": "28.2.2", "api": "1.50", "nodeCount": 1,
            "nodes": [{ "hostname": "a", "role": "Manager", "leader": true, "availability": "Active", "state": "Ready",
                        "addr": "10.0.0.1", "engine": "28.2.2", "cpus": 1.5, "memory": 2_147_483_648_u64,
                        "labels": [{ "name": "zone", "value": "x" }] }],
            "claim": { "state": "Ours", "instance": null, "epoch": 1 },
        }))
        .unwrap();
        insta::assert_snapshot!(environment(&it, "2026-01-31T12:00:00Z".parse().unwrap(), Paint(false)), @r"
        prod  connected for 60m
          endpoints  tcp://a:2376
          tls        credential prod-tls
          engine     28.2.2 (API 1.50)

        NODE  ROLE    STATE  AVAILABILITY  ADDRESS   ENGINE  CPUS  MEMORY   LABELS
        a     Leader  Ready  Active        10.0.0.1  28.2.2  1.5   2.0 GiB  zone=x
        ");
        assert_eq!(capacity(&it.nodes), "1/1 nodes, 1.5 CPUs, 2.0 GiB");
    }
}
