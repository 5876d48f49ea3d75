//! When new versions may begin: windows of the week, and times when nothing does.
//!
//! Times are those of the clock on the wall of a zone: a window from 22:00 to 04:00 goes over midnight, and on the night
//! when the clock is put forward or back it is an hour shorter or longer. The zones' rules are part of the program.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

/// So many days ahead an opening is looked for.
const AHEAD: i64 = 400;

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// All of them by name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("Mon", Self::Mon),
        ("Tue", Self::Tue),
        ("Wed", Self::Wed),
        ("Thu", Self::Thu),
        ("Fri", Self::Fri),
        ("Sat", Self::Sat),
        ("Sun", Self::Sun),
    ];

    fn is(self, day: Weekday) -> bool {
        day.to_monday_zero_offset() == self as i8
    }
}

/// A part of some days in which new versions may begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The days it begins on; none named: every day.
    #[serde(default)]
    pub days: Vec<Day>,
    /// When it begins.
    pub from: Time,
    /// When it ends; not after `from`: on the next day.
    pub to: Time,
}

impl Window {
    /// Its times when it begins on this day.
    fn on(&self, date: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        if !self.days.is_empty() && !self.days.iter().any(|day| day.is(date.weekday())) {
            return None;
        }
        let last = if self.to > self.from { date } else { date.tomorrow().ok()? };
        let at = |date: Date, time| Some(date.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp());
        Some((at(date, self.from)?, at(last, self.to)?))
    }
}

/// A time in which no new version begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// When it begins.
    pub from: DateTime,
    /// When it ends.
    pub to: DateTime,
    /// Why, if said.
    #[serde(default)]
    pub reason: Option<String>,
}

impl Freeze {
    fn times(&self, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let at = |time: DateTime| Some(time.to_zoned(zone.clone()).ok()?.timestamp());
        Some((at(self.from)?, at(self.to)?))
    }
}

/// When new versions may begin. What is under way goes on, a rollback and the correction of drift always may.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Schedule {
    /// The zone, by its name in the IANA database; none: UTC.
    #[serde(default)]
    pub zone: Option<String>,
    /// None: always, but for the freezes.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// When nothing begins, whatever the windows say.
    #[serde(default)]
    pub freezes: Vec<Freeze>,
}

/// Whether new versions may begin now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// They may.
    Open,
    /// They may not.
    Closed {
        /// The next time they may, if there is one in the next 400 days.
        opens: Option<Timestamp>,
        /// Why not, as a phrase.
        why: String,
    },
}

impl Schedule {
    /// The zone of its times.
    ///
    /// # Errors
    /// There is no zone of that name.
    pub fn zone(&self) -> Result<TimeZone, String> {
        let Some(name) = &self.zone else { return Ok(TimeZone::UTC) };
        TimeZone::get(name).map_err(|_| format!("there is no time zone `{name}`; write one like `Europe/Berlin`"))
    }

    /// Whether new versions may begin now, and when else.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Opening {
        // A zone that was known when it was declared and is no more keeps nothing back for good: it is taken as UTC.
        let zone = self.zone().unwrap_or(TimeZone::UTC);
        let Some(why) = self.closed(now, &zone) else { return Opening::Open };
        let today = now.to_zoned(zone.clone()).date();
        let days = (0..AHEAD).filter_map(|days| today.checked_add(Span::new().days(days)).ok());
        let begins = days.flat_map(|date| self.windows.iter().map(move |window| (window, date)));
        let begins = begins.filter_map(|(window, date)| window.on(date, &zone)).map(|(from, _)| from);
        let thaws = self.freezes.iter().filter_map(|freeze| freeze.times(&zone)).map(|(_, to)| to);
        let mut times: Vec<Timestamp> = begins.chain(thaws).filter(|time| *time > now).collect();
        times.sort_unstable();
        Opening::Closed { opens: times.into_iter().find(|time| self.closed(*time, &zone).is_none()), why }
    }

    fn closed(&self, now: Timestamp, zone: &TimeZone) -> Option<String> {
        let within = |times: Option<(Timestamp, Timestamp)>| times.is_some_and(|(from, to)| from <= now && now < to);
        if let Some(freeze) = self.freezes.iter().find(|freeze| within(freeze.times(zone))) {
            let reason = freeze.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            return Some(format!("new versions are frozen until {}{reason}", freeze.to));
        }
        let today = now.to_zoned(zone.clone()).date();
        let days = [today.yesterday().ok(), Some(today)];
        let open = |window: &Window| days.iter().flatten().any(|date| within(window.on(*date, zone)));
        (!self.windows.is_empty() && !self.windows.iter().any(open))
            .then(|| "no window for new versions is open".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(text: &str) -> Schedule {
        serde_json::from_str(text).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn opens(schedule: &Schedule, now: &str) -> Option<String> {
        match schedule.at(at(now)) {
            Opening::Open => Some("now".to_owned()),
            Opening::Closed { opens, .. } => opens.map(|time| time.to_string()),
        }
    }

    #[test]
    fn without_windows_it_is_always_open() {
        assert_eq!(Schedule::default().at(at("2026-11-24T03:00:00Z")), Opening::Open);
    }

    #[test]
    fn a_window_goes_over_midnight_and_belongs_to_the_day_it_begins_on() {
        let nights = schedule(r#"{ "windows": [{ "days": ["Fri"], "from": "22:00", "to": "04:00" }] }"#);
        // 2026-11-27 is a Friday.
        assert_eq!(opens(&nights, "2026-11-27T21:59:59Z").as_deref(), Some("2026-11-27T22:00:00Z"));
        assert_eq!(opens(&nights, "2026-11-28T03:59:59Z").as_deref(), Some("now"));
        assert_eq!(opens(&nights, "2026-11-28T04:00:00Z").as_deref(), Some("2026-12-04T22:00:00Z"));
    }

    #[test]
    fn times_are_those_of_the_zone_also_when_the_clock_is_put_back() {
        let office = schedule(r#"{ "zone": "Europe/Berlin", "windows": [{ "from": "09:00", "to": "16:00" }] }"#);
        assert_eq!(opens(&office, "2026-07-01T07:00:00Z").as_deref(), Some("now"), "09:00 in summer");
        assert_eq!(opens(&office, "2026-12-01T07:00:00Z").as_deref(), Some("2026-12-01T08:00:00Z"));
        assert_eq!(
            opens(&office, "2026-10-24T20:00:00Z").as_deref(),
            Some("2026-10-25T08:00:00Z"),
            "the night between"
        );
    }

    #[test]
    fn a_freeze_stands_above_the_windows_and_the_next_opening_is_after_it() {
        let frozen = schedule(
            r#"{ "windows": [{ "from": "09:00", "to": "10:00" }],
                 "freezes": [{ "from": "2026-12-20T00:00", "to": "2027-01-02T09:30", "reason": "holidays" }] }"#,
        );
        assert_eq!(opens(&frozen, "2026-12-24T09:15:00Z").as_deref(), Some("2027-01-02T09:30:00Z"));
        let Opening::Closed { why, .. } = frozen.at(at("2026-12-24T09:15:00Z")) else { panic!("it is open") };
        assert!(why.contains("holidays"), "{why}");
        let ever = schedule(r#"{ "freezes": [{ "from": "2026-01-01T00:00", "to": "2036-01-01T00:00" }] }"#);
        assert_eq!(opens(&ever, "2026-12-24T09:15:00Z").as_deref(), Some("2036-01-01T00:00:00Z"));
    }

    #[test]
    fn a_zone_that_is_not_there_is_said() {
        assert!(schedule(r#"{ "zone": "Mars/Base" }"#).zone().unwrap_err().contains("Mars/Base"));
    }
}
