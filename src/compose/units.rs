//! Durations, sizes and CPUs as Compose writes them.

/// Units of a duration, in nanoseconds, longer names first.
const DURATION_UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A Go duration (`1m30s`, `500ms`, `1.5h`) in nanoseconds. A bare number has no unit and is refused, `0` apart; so is a
/// negative one.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("`{text}` is not a duration");
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.bytes().take_while(|c| c.is_ascii_digit() || *c == b'.').count();
        let (digits, after) = rest.split_at_checked(end).ok_or_else(invalid)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end).ok_or_else(invalid)?;
        let (_, size) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?;
        total += scaled(digits, *size).ok_or_else(invalid)?;
        rest = after;
        if total > i128::from(i64::MAX) {
            return Err(format!("`{text}` is longer than 292 years"));
        }
    }
    i64::try_from(total).map_err(|_| invalid())
}

/// `digits` (with at most one point) times `size`, cut to a whole number.
fn scaled(digits: &str, size: i128) -> Option<i128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { i128::from(whole.parse::<i64>().ok()?) };
    let fraction = fraction.get(..fraction.len().min(18))?;
    let parts: i128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some(whole * size + parts * size / scale)
}

/// A size (`512M`, `1.5GiB`, `1024`) in bytes. Units are powers of 1024; their case, and a `b` or `ib` after them, do not
/// matter.
pub(super) fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("`{text}` is not a size such as `512M` or `1G`");
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(invalid)? + 1;
    let (number, unit) = text.split_at_checked(end).ok_or_else(invalid)?;
    let number = number.strip_suffix(' ').unwrap_or(number);
    if number.is_empty() || !number.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
        return Err(invalid());
    }
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "p" | "pb" | "pib" => 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(invalid()),
    };
    let size = number.parse::<f64>().map_err(|_| invalid())? * factor;
    format!("{:.0}", size.trunc()).parse().map_err(|_| format!("`{text}` is too large"))
}

/// A number of CPUs (`0.25`) in billionths. What is finer than one billionth is refused.
pub(super) fn cpus(text: &str) -> Result<i64, String> {
    let invalid = || format!("`{text}` is not a number of CPUs such as `0.5`");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(invalid());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err(format!("`{text}` is too precise; nine digits after the point are the most"));
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let fraction: i64 = format!("{fraction:0<9}").parse().map_err(|_| invalid())?;
    whole.checked_mul(1_000_000_000).and_then(|nanos| nanos.checked_add(fraction)).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_durations() {
        for (text, nanos) in [
            ("10s", 10_000_000_000),
            ("1m30s", 90_000_000_000),
            ("500ms", 500_000_000),
            ("1.5h", 5_400_000_000_000),
            ("0", 0),
            ("0s", 0),
            ("100us", 100_000),
            ("7µs", 7_000),
            ("1h0.5s", 3_600_500_000_000),
            (".5s", 500_000_000),
        ] {
            assert_eq!(duration(text), Ok(nanos), "{text}");
        }
        for bad in ["", "10", "s", "1d", "-1s", "1..5s", "1s5", "99999999h", "1 s", "."] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in [
            ("1024", 1024),
            ("1k", 1024),
            ("512M", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("1gb", 1 << 30),
            ("2 m", 2 << 20),
            ("10b", 10),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for bad in ["", "M", "1x", "-1m", "1mm", "1.2.3m", "99999999999p", "1mi"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_are_exact() {
        assert_eq!(cpus("0.25"), Ok(250_000_000));
        assert_eq!(cpus("2"), Ok(2_000_000_000));
        assert_eq!(cpus(".5"), Ok(500_000_000));
        assert_eq!(cpus("0.5000000000000"), Ok(500_000_000));
        for bad in ["", ".", "-1", "0.0000000001", "1e3", "99999999999999"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
    }
}
