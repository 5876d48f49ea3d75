//! Plans as others write differences: unified, and for a comment on a change request.

use serde_json::Value;

use super::plan::summary;
use crate::cli::console::{Paint, Tone, clean};
use crate::cli::model::{Change, Plan, Step};

/// As `diff -u` writes it: a file for each object, a hunk for each field. The sides are called `from` and `to`.
pub(in crate::cli) fn unified(plan: &Plan, (from, to): (&str, &str), paint: Paint) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let object = format!("{}/{}", step.kind.to_lowercase(), clean(&step.name));
        let side = |there: bool, side: &str| if there { format!("{side}/{object}") } else { "/dev/null".to_owned() };
        for (sign, file) in [("---", side(step.action != "Create", from)), ("+++", side(step.action != "Remove", to))] {
            text.push_str(&paint.tone(Tone::Strong, &format!("{sign} {file}")));
            text.push('\n');
        }
        if step.changes.is_empty() {
            text.push_str(&paint.tone(Tone::Faint, &format!("@@ {} @@", clean(&step.reason))));
            text.push('\n');
        }
        for change in &step.changes {
            text.push_str(&paint.tone(Tone::Faint, &format!("@@ {} @@", clean(&change.path))));
            text.push('\n');
            for (tone, line) in sides(change) {
                text.push_str(&paint.tone(tone, &line));
                text.push('\n');
            }
        }
    }
    text
}

/// For a comment on a change request: a table, and each object's fields to unfold.
pub(in crate::cli) fn markdown(stack: &str, plan: &Plan) -> String {
    let mut text = format!("### {}: {}\n", quoted(stack), summary(plan, Paint(false)).trim_end());
    if !plan.steps.is_empty() {
        text.push_str("\n| | object | why |\n| --- | --- | --- |\n");
    }
    for step in &plan.steps {
        let (action, kind) = (&step.action, step.kind.to_lowercase());
        text.push_str(&format!("| {action} | {kind} {} | {} |\n", quoted(&step.name), cell(&step.reason)));
    }
    for step in plan.steps.iter().filter(|step| !step.changes.is_empty()) {
        text.push_str(&unfold(step));
    }
    for (what, said) in [("Held back", &plan.waiting), ("Remark", &plan.warnings)] {
        said.iter().for_each(|it| text.push_str(&format!("\n> {what}: {}\n", clean(it))));
    }
    text
}

fn unfold(step: &Step) -> String {
    let mut lines = Vec::new();
    for change in &step.changes {
        lines.push(format!(" {}", clean(&change.path)));
        lines.extend(sides(change).into_iter().map(|(_, line)| line));
    }
    let body = lines.join("\n");
    // A fence is longer than any run of its sign inside.
    let longest = body.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let (kind, name) = (step.kind.to_lowercase(), html(&clean(&step.name)));
    format!("\n<details><summary>{kind} <code>{name}</code></summary>\n\n{fence}diff\n{body}\n{fence}\n\n</details>\n")
}

/// What goes and what comes, each line with its sign.
fn sides(change: &Change) -> Vec<(Tone, String)> {
    let side = |value: &Value, sign: char, tone: Tone| {
        block(value).into_iter().map(move |line| (tone, format!("{sign}{line}"))).collect::<Vec<_>>()
    };
    let mut all = side(&change.from, '-', Tone::Bad);
    all.extend(side(&change.to, '+', Tone::Good));
    all
}

/// A value in lines: text as it is, anything else as JSON; none when it is not there.
fn block(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) if text.is_empty() => vec!["\"\"".to_owned()],
        Value::String(text) => text.lines().map(clean).collect(),
        value => serde_json::to_string_pretty(value).unwrap_or_default().lines().map(clean).collect(),
    }
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    html(&clean(text)).replace('|', "\\|")
}

/// A name as code. A name of Swarm's holds no backtick; what does is left as text.
fn quoted(name: &str) -> String {
    let name = clean(name);
    if name.contains('`') { cell(&name) } else { format!("`{}`", name.replace('|', "\\|")) }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::model::read;

    fn some() -> Plan {
        read(&json!({
            "digest": "0123456789abcdef", "unchanged": 3, "waiting": ["port 80 is taken"], "warnings": [],
            "steps": [
                { "kind": "Config", "name": "shop_c_01", "action": "Create", "reason": "it is not there", "changes": [] },
                { "kind": "Service", "name": "shop_web", "action": "Update", "reason": "image a|b <c> differs", "changes": [
                    { "path": "/TaskTemplate/ContainerSpec/Image", "from": "app:1", "to": "app:2" },
                    { "path": "/Labels/a", "from": null, "to": "x\u{1b}[2J" },
                    { "path": "/Data", "from": "one\n```\n", "to": ["two", 2] },
                ] },
                { "kind": "Network", "name": "shop_old", "action": "Remove", "reason": "nobody wants it", "changes": [] },
            ],
        }))
        .unwrap()
    }

    #[test]
    fn unified_is_read_by_what_reads_diffs() {
        insta::assert_snapshot!(unified(&some(), ("live", "wanted"), Paint(false)), @r#"
        --- /dev/null
        +++ wanted/config/shop_c_01
        @@ it is not there @@
        --- live/service/shop_web
        +++ wanted/service/shop_web
        @@ /TaskTemplate/ContainerSpec/Image @@
        -app:1
        +app:2
        @@ /Labels/a @@
        +x·[2J
        @@ /Data @@
        -one
        -```
        +[
        +  "two",
        +  2
        +]
        --- live/network/shop_old
        +++ /dev/null
        @@ nobody wants it @@
        "#);
        assert!(unified(&some(), ("live", "wanted"), Paint(true)).contains("\x1b[32m+app:2\x1b[0m"));
    }

    #[test]
    fn markdown_cannot_be_broken_out_of() {
        insta::assert_snapshot!(markdown("shop", &some()), @r#"
        ### `shop`: 1 to create, 1 to update, 1 to remove; 3 unchanged (plan 0123456789ab)

        | | object | why |
        | --- | --- | --- |
        | Create | config `shop_c_01` | it is not there |
        | Update | service `shop_web` | image a\|b &lt;c&gt; differs |
        | Remove | network `shop_old` | nobody wants it |

        <details><summary>service <code>shop_web</code></summary>

        ````diff
         /TaskTemplate/ContainerSpec/Image
        -app:1
        +app:2
         /Labels/a
        +x·[2J
         /Data
        -one
        -```
        +[
        +  "two",
        +  2
        +]
        ````

        </details>

        > Held back: port 80 is taken
        "#);
        let nothing = Plan { steps: vec![], waiting: vec![], ..some() };
        assert_eq!(markdown("shop", &nothing), "### `shop`: no difference; 3 unchanged (plan 0123456789ab)\n");
    }
}
