//! How a deployment under way is shown: lines for a terminal, or a line for each change.

use jiff::Timestamp;

use crate::cli::console::{Paint, Tone, clean, cut, width};
use crate::cli::model::{Deployment, Service};
use crate::cli::text;

/// Columns of a bar.
const BAR: usize = 12;

/// What is known of a deployment, and of the rollback that answers its failure.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) deployment: Option<Deployment>,
    pub(super) back: Option<Deployment>,
    /// Why nothing is heard at the moment.
    pub(super) lost: Option<String>,
}

impl Seen {
    /// The services that move now: those of the rollback once it has any.
    fn services(&self) -> &[Service] {
        match (&self.back, &self.deployment) {
            (Some(back), _) if !back.services.is_empty() => &back.services,
            (_, Some(deployment)) => &deployment.services,
            _ => &[],
        }
    }
}

/// A bar of healthy tasks among those wanted.
pub(in crate::cli) fn bar(healthy: u64, wanted: u64, columns: usize) -> String {
    let cells = u64::try_from(columns).unwrap_or(1);
    let filled = match wanted {
        0 => columns,
        wanted => usize::try_from(healthy.min(wanted).saturating_mul(cells) / wanted).unwrap_or(columns),
    };
    format!("{}{}", "#".repeat(filled), "-".repeat(columns - filled))
}

/// Text from elsewhere, if there is any.
fn said(text: Option<&str>) -> Option<String> {
    text.map(clean).filter(|text| !text.is_empty())
}

/// What a service waits for that is not written yet.
fn waits(names: &[String]) -> Option<String> {
    let names: Vec<String> = names.iter().map(|name| clean(name)).collect();
    (!names.is_empty()).then(|| format!("waits for {}", names.join(", ")))
}

/// All lines, none wider than the screen and not more than it has.
pub(super) fn lines(seen: &Seen, now: Timestamp, (columns, rows): (usize, usize), paint: Paint) -> Vec<String> {
    let most = columns.saturating_sub(1);
    let Some(deployment) = &seen.deployment else { return vec![cut("waiting for the server", most)] };
    let version = text::version(deployment.revision.as_deref(), &deployment.images);
    let elapsed = text::between(deployment.created_at, now);
    let place = format!("{} ({})", clean(&deployment.stack), clean(&deployment.environment));
    let head = cut(&format!("{place}  {}  {elapsed}  {version}", deployment.phase), most);
    // Cut first, coloured then: what colour takes is no column.
    let toned = paint.tone(Tone::of_phase(&deployment.phase), &deployment.phase);
    let mut lines = vec![head.replacen(&deployment.phase, &toned, 1)];
    let services = seen.services();
    let name = services.iter().map(|it| width(&clean(&it.service))).max().unwrap_or(0).min(32);
    let room = rows.saturating_sub(4).max(1);
    lines.extend(services.iter().take(room).map(|service| service_line(service, name, most, paint)));
    let mut note = |tone: Tone, text: String| lines.push(paint.tone(tone, &cut(&format!("  {text}"), most)));
    if services.len() > room {
        note(Tone::Faint, format!("and {} more", services.len() - room));
    }
    if let Some(back) = &seen.back {
        let version = text::version(back.revision.as_deref(), &back.images);
        note(Tone::Warn, format!("bringing back {version}: {}", back.phase));
    } else if let Some(message) = said(deployment.message.as_deref()) {
        note(Tone::Faint, message);
    }
    if let Some(why) = &seen.lost {
        note(Tone::Warn, format!("connection lost ({}); trying again", clean(why)));
    }
    lines.truncate(rows.saturating_sub(1).max(1));
    lines
}

fn service_line(service: &Service, name: usize, most: usize, paint: Paint) -> String {
    let shown = cut(&clean(&service.service), name);
    let pad = " ".repeat(name - width(&shown));
    let bar = bar(service.healthy, service.wanted, BAR);
    let count = format!("{}/{}", service.healthy, service.wanted);
    let start = format!("  {shown}{pad}  {bar}  {count}");
    if width(&start) > most {
        return cut(&start, most);
    }
    let obstacle = said(service.obstacle.as_deref()).or_else(|| waits(&service.waits_for));
    let obstacle = obstacle.map(|text| cut(&format!("  {text}"), most - width(&start))).unwrap_or_default();
    let tone = if service.healthy >= service.wanted { Tone::Good } else { Tone::Plain };
    format!("  {shown}{pad}  {}  {count}{}", paint.tone(tone, &bar), paint.tone(Tone::Warn, &obstacle))
}

/// A line for each thing that changed, without the time.
pub(super) fn changes(before: &Seen, now: &Seen) -> Vec<String> {
    let mut lines = Vec::new();
    let Some(deployment) = &now.deployment else { return lines };
    let stack = clean(&deployment.stack);
    let says = |it: &Deployment| (it.phase.clone(), it.message.clone(), it.revision.clone());
    if before.deployment.as_ref().map(says) != Some(says(deployment)) {
        let version = match text::version(deployment.revision.as_deref(), &deployment.images) {
            unknown if unknown == text::NONE => String::new(),
            version => format!(" {version}"),
        };
        let message = said(deployment.message.as_deref()).map(|text| format!(": {text}")).unwrap_or_default();
        lines.push(format!("{stack} {}{version}{message}", deployment.phase));
    }
    for service in now.services().iter().filter(|service| !before.services().contains(service)) {
        let obstacle = said(service.obstacle.as_deref()).or_else(|| waits(&service.waits_for));
        let obstacle = obstacle.map(|text| format!(": {text}")).unwrap_or_default();
        let name = clean(&service.service);
        lines.push(format!("{stack} {name} {}/{} healthy{obstacle}", service.healthy, service.wanted));
    }
    if let Some(back) = &now.back
        && before.back.as_ref().is_none_or(|it| it.phase != back.phase)
    {
        let version = text::version(back.revision.as_deref(), &back.images);
        lines.push(format!("{stack} bringing back {version}: {}", back.phase));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::sample;

    fn seen() -> Seen {
        Seen { deployment: Some(sample::deployment("Verifying")), ..Seen::default() }
    }

    fn now() -> Timestamp {
        "2026-01-31T12:00:14Z".parse().unwrap()
    }

    #[test]
    fn bars_are_full_only_when_everything_is_there() {
        for (healthy, wanted, shown) in [
            (0, 0, "############"),
            (0, 3, "------------"),
            (1, 3, "####--------"),
            (999, 1000, "###########-"),
            (3, 3, "############"),
            (5, 3, "############"),
        ] {
            assert_eq!(bar(healthy, wanted, BAR), shown, "{healthy}/{wanted}");
        }
    }

    #[test]
    fn a_terminal_sees_each_service() {
        let shown = lines(&seen(), now(), (80, 24), Paint(false)).join("\n");
        insta::assert_snapshot!(shown, @r"
        shop (default)  Verifying  14s  01234567
          web     ########----  2/3  starting on node-3
          worker  ############  1/1
          3 of 4 tasks are healthy
        ");
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_screen() {
        for columns in [20, 21, 30, 40, 79] {
            for line in lines(&seen(), now(), (columns, 24), Paint(false)) {
                assert!(width(&line) < columns, "{columns}: {line}");
            }
        }
        let mut many = seen();
        if let Some(deployment) = &mut many.deployment {
            deployment.services = vec![deployment.services[0].clone(); 50];
        }
        let shown = lines(&many, now(), (80, 10), Paint(false));
        assert!(shown.len() < 10, "{shown:#?}");
        assert!(shown.iter().any(|line| line.contains("and 44 more")), "{shown:#?}");
    }

    #[test]
    fn the_way_back_is_shown() {
        let mut seen = Seen { deployment: Some(sample::deployment("RollingBack")), ..Seen::default() };
        let mut back = sample::deployment("Applying");
        back.revision = Some("f".repeat(40));
        back.services[0].obstacle = None;
        seen.back = Some(back);
        seen.lost = Some("reset".into());
        let shown = lines(&seen, now(), (80, 24), Paint(false)).join("\n");
        insta::assert_snapshot!(shown, @r"
        shop (default)  RollingBack  14s  01234567
          web     ########----  2/3
          worker  ############  1/1
          bringing back ffffffff: Applying
          connection lost (reset); trying again
        ");
    }

    #[test]
    fn only_changes_are_told() {
        let first = seen();
        insta::assert_snapshot!(changes(&Seen::default(), &first).join("\n"), @r"
        shop Verifying 01234567: 3 of 4 tasks are healthy
        shop web 2/3 healthy: starting on node-3
        shop worker 1/1 healthy
        ");
        assert!(changes(&first, &first).is_empty());
        let mut next = first.clone();
        if let Some(deployment) = &mut next.deployment {
            deployment.services[0] = Service { healthy: 3, obstacle: None, ..deployment.services[0].clone() };
        }
        assert_eq!(changes(&first, &next), ["shop web 3/3 healthy"]);
    }
}
