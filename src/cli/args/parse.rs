//! Values of flags.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::declare::parse_duration;

/// The phases of a stack.
const PHASES: [&str; 9] =
    ["Pending", "Progressing", "Converged", "RollingBack", "RolledBack", "Degraded", "Failed", "Suspended", "Unknown"];

/// `K=V`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What stands before the first `=`.
    pub key: String,
    /// What stands behind it.
    pub value: String,
}

pub(super) fn pair(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Pair { key: key.to_owned(), value: value.to_owned() }),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// The phase of a stack, in small letters or capitals.
pub(super) fn phase(text: &str) -> Result<String, String> {
    let found = PHASES.iter().find(|phase| phase.eq_ignore_ascii_case(text));
    found.map(|phase| (*phase).to_owned()).ok_or_else(|| format!("it is one of {}", PHASES.join(", ")))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    Duration::try_from(duration).map_err(|_| format!("`{text}` is too long"))
}

/// A point in time, or a duration from now.
pub(super) fn until(text: &str) -> Result<Timestamp, String> {
    until_from(text, Timestamp::now())
}

fn until_from(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || format!("`{text}` is neither a time like 2026-01-31T12:00:00Z nor a duration like 2h");
    match parse_duration(text) {
        // Whole seconds: nobody means the nanosecond.
        Ok(duration) => {
            let time = now.checked_add(duration).and_then(|time| Timestamp::from_second(time.as_second()));
            time.map_err(|_| format!("`{text}` is too far away"))
        }
        Err(_) => {
            let time: Timestamp = text.parse().map_err(|_| wrong())?;
            if time > now { Ok(time) } else { Err(format!("`{text}` has passed")) }
        }
    }
}

/// A point in time, or how long ago.
pub(super) fn since(text: &str) -> Result<Timestamp, String> {
    since_from(text, Timestamp::now())
}

fn since_from(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    match parse_duration(text) {
        Ok(ago) => now.checked_sub(ago).map_err(|_| format!("`{text}` is too long ago")),
        Err(_) => {
            let wrong = |_| format!("`{text}` is neither a time like 2026-01-31T12:00:00Z nor a duration like 5m");
            text.parse().map_err(wrong)
        }
    }
}

/// An address to listen on. `localhost` and a bare port mean this machine alone.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    match port.parse::<u16>() {
        Ok(port) => Ok(SocketAddr::from(([127, 0, 0, 1], port))),
        Err(_) => text.parse().map_err(|_| "write ADDRESS:PORT, for example 127.0.0.1:7717 or [::]:7717".to_owned()),
    }
}

/// Where data is kept when nothing is said: in the user's own folder, so that a client finds the token from anywhere.
pub(super) fn data_folder() -> PathBuf {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    match folder("XDG_DATA_HOME").or_else(|| Some(folder("HOME")?.join(".local/share"))) {
        Some(folder) => folder.join("skep"),
        None => PathBuf::from("skep-data"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_cut_at_the_first_mark() {
        assert_eq!(pair("K=a=b"), Ok(Pair { key: "K".into(), value: "a=b".into() }));
        assert_eq!(pair("K="), Ok(Pair { key: "K".into(), value: String::new() }));
        assert!(pair("K").is_err());
        assert!(pair("=v").is_err());
    }

    #[test]
    fn times_are_points_or_durations_from_now() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(until_from("2h", now).unwrap().to_string(), "2026-01-31T14:00:00Z");
        let later: Timestamp = "2026-01-31T12:00:00.123456Z".parse().unwrap();
        assert_eq!(until_from("2h", later).unwrap().to_string(), "2026-01-31T14:00:00Z");
        assert_eq!(until_from("1d", now).unwrap().to_string(), "2026-02-01T12:00:00Z");
        assert_eq!(until_from("2026-02-01T01:00:00+01:00", now).unwrap().to_string(), "2026-02-01T00:00:00Z");
        for bad in ["", "soon", "2", "2026-01-31", "2026-01-31T11:59:59Z", "-2h"] {
            assert!(until_from(bad, now).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn what_was_is_a_point_in_time_or_how_long_ago() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(since_from("5m", now).unwrap().to_string(), "2026-01-31T11:55:00Z");
        assert_eq!(since_from("2026-01-01T00:00:00Z", now).unwrap().to_string(), "2026-01-01T00:00:00Z");
        assert!(since_from("soon", now).is_err());
    }

    #[test]
    fn durations_are_those_of_the_manifests() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("90").is_err());
    }

    #[test]
    fn listening_is_on_this_machine_unless_an_address_is_said() {
        for (text, address) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("localhost:7717", "127.0.0.1:7717"),
            (":80", "127.0.0.1:80"),
            ("0", "127.0.0.1:0"),
            ("[::]:9", "[::]:9"),
        ] {
            assert_eq!(listen(text).map(|it| it.to_string()), Ok(address.to_owned()));
        }
        for bad in ["", "example.org:80", "127.0.0.1", "1.2.3.4:99999"] {
            assert!(listen(bad).is_err(), "{bad:?} was taken");
        }
    }
}
