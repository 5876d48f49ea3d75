//! What a plain YAML scalar is, by the rules of the parser in `docker stack deploy` (go-yaml 3), and how Go prints it.
//!
//! YAML 1.1's `yes`, `no`, `on` and `off` stay text, `0440` and `0o440` are octal, `22:22` is text, dates are times.

/// The type of a scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Time,
    Text,
}

impl Kind {
    /// What to call it in an error.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "empty",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Time => "a date",
            Self::Text => "text",
        }
    }
}

/// The type of the plain (unquoted) scalar `text`.
pub(super) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Kind::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Kind::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Kind::Float(f64::NAN),
        _ => {}
    }
    match text.bytes().next() {
        Some(b'0'..=b'9' | b'+' | b'-') => {
            if time(text).is_some() {
                return Kind::Time;
            }
            let plain = text.replace('_', "");
            integer(&plain).map(Kind::Int).or_else(|| float(&plain).map(Kind::Float)).unwrap_or(Kind::Text)
        }
        Some(b'.') => float(text).map_or(Kind::Text, Kind::Float),
        _ => Kind::Text,
    }
}

/// An integer as Go reads it with base 0: decimal, `0x`, `0b`, `0o`, and octal after a leading zero.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -value } else { value };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// A float: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let form = digits(whole)
        && fraction.is_none_or(digits)
        && (!whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty()))
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
    form.then(|| text.parse().ok()).flatten()
}

/// How Go prints a scalar that goes into an environment variable, a label or an option; `None` for null.
pub(super) fn printed(kind: Kind, text: &str) -> Option<String> {
    match kind {
        Kind::Null => None,
        Kind::Bool(value) => Some(value.to_string()),
        Kind::Int(value) => Some(value.to_string()),
        Kind::Float(value) => Some(print_float(value)),
        Kind::Time => Some(time(text).unwrap_or_else(|| text.to_owned())),
        Kind::Text => Some(text.to_owned()),
    }
}

/// The shortest form that reads back; with an exponent below 1e-4 and from 1e6 on (Go's `%v`).
fn print_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    } else {
        format!("{value}")
    }
}

/// `text` as Go prints the time it stands for, if it stands for one.
fn time(text: &str) -> Option<String> {
    let (year, rest) = number(text, 4, 4)?;
    let (month, rest) = number(rest.strip_prefix('-')?, 1, 2)?;
    let (day, rest) = number(rest.strip_prefix('-')?, 1, 2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days(year, month) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if rest.is_empty() {
        return Some(format!("{date} 00:00:00 +0000 UTC"));
    }
    let (spaced, rest) = match rest.strip_prefix(' ') {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix(['T', 't'])?),
    };
    let (hour, rest) = number(rest, 1, 2)?;
    let (minute, rest) = number(rest.strip_prefix(':')?, 1, 2)?;
    let (second, rest) = number(rest.strip_prefix(':')?, 1, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.bytes().take_while(u8::is_ascii_digit).count();
            if end == 0 {
                return None;
            }
            (rest.get(..end.min(9))?.trim_end_matches('0'), rest.get(end..)?)
        }
        None => ("", rest),
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    let zone = match rest {
        "" if spaced => "+0000 UTC".to_owned(),
        "Z" if !spaced => "+0000 UTC".to_owned(),
        _ if !spaced => offset(rest)?,
        _ => return None,
    };
    Some(format!("{date} {hour:02}:{minute:02}:{second:02}{dot}{fraction} {zone}"))
}

fn offset(text: &str) -> Option<String> {
    let sign = text.chars().next().filter(|sign| matches!(sign, '+' | '-'))?;
    let (hours, rest) = number(&text[1..], 2, 2)?;
    let (minutes, rest) = number(rest.strip_prefix(':')?, 2, 2)?;
    if !rest.is_empty() || hours > 24 || minutes > 59 {
        return None;
    }
    if hours == 0 && minutes == 0 {
        return Some("+0000 +0000".to_owned());
    }
    Some(format!("{sign}{hours:02}{minutes:02} {sign}{hours:02}{minutes:02}"))
}

fn number(text: &str, least: usize, most: usize) -> Option<(u32, &str)> {
    let end = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if end < least {
        return None;
    }
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Measured with `docker stack config` 28.2.2.
    #[test]
    fn scalars_print_as_the_docker_cli_prints_them() {
        for (text, expected) in [
            ("2020-01-01T10:11:12+02:00", "2020-01-01 10:11:12 +0200 +0200"),
            ("2020-13-01", "2020-13-01"),
            ("9007199254740993.0", "9.007199254740992e+15"),
            ("089", "89"),
            ("1_000", "1000"),
            ("0x1F", "31"),
            ("1e21", "1e+21"),
            ("1e-5", "1e-05"),
            ("123456789.5", "1.234567895e+08"),
            ("12:30", "12:30"),
            ("22:22", "22:22"),
            ("0b11", "3"),
            ("-0o17", "-15"),
            ("+5", "5"),
            (".5", "0.5"),
            ("2001-12-14 21:59:43.10", "2001-12-14 21:59:43.1 +0000 UTC"),
            ("1e3", "1000"),
            ("2001-1-2", "2001-01-02 00:00:00 +0000 UTC"),
            ("18446744073709551615", "18446744073709551615"),
            ("0.000001", "1e-06"),
            ("100000000000000000000", "1e+20"),
            ("2020-01-01T10:11:12Z", "2020-01-01 10:11:12 +0000 UTC"),
            ("2020-01-01T10:11:12.120-03:30", "2020-01-01 10:11:12.12 -0330 -0330"),
            ("1_000.5", "1000.5"),
            ("0x", "0x"),
            ("0_1", "1"),
            ("-0", "0"),
            ("1.0", "1"),
            ("1.10", "1.1"),
            ("0440", "288"),
            ("0o440", "288"),
            ("yes", "yes"),
            ("on", "on"),
            ("True", "true"),
        ] {
            assert_eq!(printed(resolve(text), text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(printed(resolve("~"), "~"), None);
    }
}
