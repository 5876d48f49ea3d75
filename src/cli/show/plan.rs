//! Plans, as a difference.

use serde_json::Value;

use crate::cli::console::{Paint, Tone, clean, cut};
use crate::cli::model::{Change, Plan};
use crate::cli::text::short;

/// Columns a value may take.
const VALUE: usize = 160;

/// The steps of a plan, each with what changes, and a summary.
pub(in crate::cli) fn plan(plan: &Plan, paint: Paint) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let (mark, tone) = mark(&step.action);
        let head = format!("{mark} {} {} {}", step.action, step.kind, clean(&step.name));
        text.push_str(&format!("{}  {}\n", paint.tone(tone, &head), clean(&step.reason)));
        if let Some(wave) = step.wave {
            text.push_str(&format!("    {}\n", paint.tone(Tone::Faint, &in_wave(wave, &step.waits_for))));
        }
        for change in &step.changes {
            text.push_str(&difference(change, paint));
        }
    }
    for job in &plan.jobs {
        let head = format!("* Run job {}  {} the deployment", clean(&job.name), side(&job.when));
        text.push_str(&format!("{}\n", paint.tone(Tone::Warn, &head)));
        text.push_str(&format!("    {}\n", paint.tone(Tone::Faint, &in_wave(job.wave, &job.waits_for))));
    }
    for waiting in &plan.waiting {
        text.push_str(&format!("{} {}\n", paint.tone(Tone::Warn, "! waits:"), clean(waiting)));
    }
    for warning in &plan.warnings {
        text.push_str(&format!("{} {}\n", paint.tone(Tone::Warn, "! warning:"), clean(warning)));
    }
    text.push_str(&summary(plan, paint));
    text
}

/// In which wave, and after what.
fn in_wave(wave: u32, waits_for: &[String]) -> String {
    let names: Vec<String> = waits_for.iter().map(|name| clean(name)).collect();
    if names.is_empty() { format!("wave {wave}") } else { format!("wave {wave}, after {}", names.join(", ")) }
}

fn side(when: &str) -> &'static str {
    if when == "Pre" { "before" } else { "after" }
}

fn mark(action: &str) -> (&'static str, Tone) {
    match action {
        "Create" => ("+", Tone::Good),
        "Remove" => ("-", Tone::Bad),
        "Recreate" => ("-+", Tone::Warn),
        "Adopt" => (">", Tone::Warn),
        _ => ("~", Tone::Warn),
    }
}

/// One change: what goes and what comes, marked by sign as well as by colour.
fn difference(change: &Change, paint: Paint) -> String {
    let path = clean(&change.path);
    match (shown(&change.from), shown(&change.to)) {
        (None, None) => format!("    ~ {path}\n"),
        (None, Some(to)) => format!("    {}\n", paint.tone(Tone::Good, &format!("+ {path}: {to}"))),
        (Some(from), None) => format!("    {}\n", paint.tone(Tone::Bad, &format!("- {path}: {from}"))),
        (Some(from), Some(to)) => {
            let (from, to) = (paint.tone(Tone::Bad, &from), paint.tone(Tone::Good, &to));
            format!("    {} {path}: {from} -> {to}\n", paint.tone(Tone::Warn, "~"))
        }
    }
}

/// A value in one line; none when it is not there.
fn shown(value: &Value) -> Option<String> {
    (!value.is_null()).then(|| cut(&clean(&value.to_string()), VALUE))
}

pub(super) fn summary(plan: &Plan, paint: Paint) -> String {
    let parts: Vec<String> = ["Create", "Update", "Recreate", "Remove", "Adopt"]
        .into_iter()
        .filter_map(|action| {
            let count = plan.steps.iter().filter(|step| step.action == action).count();
            (count > 0).then(|| format!("{count} to {}", action.to_lowercase()))
        })
        .collect();
    let jobs = plan.jobs.len();
    let parts = parts.into_iter().chain((jobs > 0).then(|| format!("{jobs} to run"))).collect::<Vec<_>>();
    let what = if parts.is_empty() { "no difference".to_owned() } else { parts.join(", ") };
    if plan.digest.is_empty() {
        return format!("{what}; {} unchanged\n", plan.unchanged);
    }
    let digest = short(plan.digest.get(..12).unwrap_or(&plan.digest));
    let plan_of = paint.tone(Tone::Faint, &format!("(plan {digest})"));
    format!("{what}; {} unchanged {plan_of}\n", plan.unchanged)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::model::read;

    #[test]
    fn a_plan_reads_as_a_difference() {
        let it: Plan = read(&json!({
            "digest": "0123456789abcdef", "unchanged": 3, "waiting": ["port 80 is taken"], "warnings": ["`links` is ignored"],
            "steps": [
                { "kind": "Config", "name": "shop_c_01", "action": "Create", "reason": "it is not there", "changes": [] },
                { "kind": "Service", "name": "shop_web", "action": "Update", "reason": "it differs", "changes": [
                    { "path": "/TaskTemplate/ContainerSpec/Image", "from": "app:1", "to": "app:2" },
                    { "path": "/Labels/a", "from": null, "to": "x\u{1b}[2J" },
                    { "path": "/Mode/Replicated/Replicas", "from": 3, "to": null },
                ] },
                { "kind": "Network", "name": "shop_old", "action": "Remove", "reason": "nobody wants it", "changes": [] },
            ],
        }))
        .unwrap();
        insta::assert_snapshot!(plan(&it, Paint(false)), @r#"
        + Create Config shop_c_01  it is not there
        ~ Update Service shop_web  it differs
            ~ /TaskTemplate/ContainerSpec/Image: "app:1" -> "app:2"
            + /Labels/a: "x\u001b[2J"
            - /Mode/Replicated/Replicas: 3
        - Remove Network shop_old  nobody wants it
        ! waits: port 80 is taken
        ! warning: `links` is ignored
        1 to create, 1 to update, 1 to remove; 3 unchanged (plan 0123456789ab)
        "#);
        assert!(plan(&it, Paint(true)).contains("\x1b[32m+ Create Config shop_c_01\x1b[0m"));
    }

    #[test]
    fn waves_and_jobs_are_shown() {
        let it: Plan = read(&json!({
            "digest": "0123456789abcdef", "unchanged": 1,
            "steps": [
                { "kind": "Service", "name": "shop_web", "action": "Update", "reason": "it differs", "changes": [],
                  "wave": 2, "waitsFor": ["shop_migrate"] },
            ],
            "jobs": [
                { "name": "shop_migrate", "when": "Pre", "wave": 1, "waitsFor": [] },
                { "name": "shop_smoke", "when": "Post", "wave": 3, "waitsFor": ["shop_migrate", "shop_web"] },
            ],
        }))
        .unwrap();
        insta::assert_snapshot!(plan(&it, Paint(false)), @r"
        ~ Update Service shop_web  it differs
            wave 2, after shop_migrate
        * Run job shop_migrate  before the deployment
            wave 1
        * Run job shop_smoke  after the deployment
            wave 3, after shop_migrate, shop_web
        1 to update, 2 to run; 1 unchanged (plan 0123456789ab)
        ");
    }

    #[test]
    fn nothing_to_do_is_said() {
        let it =
            Plan { digest: "01".into(), steps: vec![], waiting: vec![], warnings: vec![], unchanged: 2, jobs: vec![] };
        assert_eq!(plan(&it, Paint(false)), "no difference; 2 unchanged (plan 01)\n");
    }
}
