//! Durations as people write them: `500ms`, `5m`, `1h30m`.

use jiff::SignedDuration;

/// Reads a duration: whole numbers each with one of `d`, `h`, `m`, `s`, `ms`, the greater units first; `0` alone is taken.
///
/// # Errors
/// A phrase that says what is wrong.
pub fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let wrong = || format!("`{text}` is not a duration; write for example 500ms, 30s, 5m or 1h30m");
    if text == "0" {
        return Ok(SignedDuration::ZERO);
    }
    let (mut rest, mut total, mut last) = (text, 0_i64, i64::MAX);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        let milliseconds = match unit {
            "d" => 86_400_000,
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(wrong()),
        };
        if milliseconds >= last {
            return Err(wrong());
        }
        let number: i64 = number.parse().map_err(|_| wrong())?;
        total = number.checked_mul(milliseconds).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        (rest, last) = (tail, milliseconds);
    }
    if last == i64::MAX { Err(wrong()) } else { Ok(SignedDuration::from_millis(total)) }
}

/// Writes a duration so that [`parse_duration`] reads it back.
#[must_use]
pub fn format_duration(duration: SignedDuration) -> String {
    let mut left = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let mut text = String::new();
    for (unit, milliseconds) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if left >= milliseconds {
            text.push_str(&format!("{}{unit}", left / milliseconds));
            left %= milliseconds;
        }
    }
    if text.is_empty() { "0".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back() {
        for text in ["500ms", "5m", "1h30m", "1m30s", "2h1ms", "0"] {
            assert_eq!(parse_duration(text).map(format_duration).as_deref(), Ok(text));
        }
        assert_eq!(parse_duration("1d"), Ok(SignedDuration::from_hours(24)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for bad in ["", "5", "m", "5 m", "-5m", "5m5m", "1s1h", "1.5h", "99999999999999999999h", "9999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was taken");
        }
    }
}
