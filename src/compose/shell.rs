//! A command in one text, split into words as `docker stack deploy` splits it: blanks, `'…'`, `"…"` with `\`, `\` outside,
//! and `#` at the beginning of a word up to the end of the line.

/// The words of `text`.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => {
                chars.by_ref().find(|c| *c == '\n');
            }
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("ends in a lone `\\`")?),
            '\'' => quoted(&mut chars, '\'', false, word.get_or_insert_default())?,
            '"' => quoted(&mut chars, '"', true, word.get_or_insert_default())?,
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(chars: &mut std::str::Chars<'_>, end: char, escapes: bool, word: &mut String) -> Result<(), String> {
    while let Some(c) = chars.next() {
        match c {
            c if c == end => return Ok(()),
            '\\' if escapes => word.push(chars.next().ok_or("ends in a lone `\\`")?),
            c => word.push(c),
        }
    }
    Err(format!("a {end} is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_docker_cli() {
        let split = |text| split(text).unwrap();
        assert_eq!(split(r#"echo "a\nb" 'c d' e#f # g"#), ["echo", "anb", "c d", "e#f"]);
        assert_eq!(split(r#"sh -c "echo \"x\"; exit 0""#), ["sh", "-c", r#"echo "x"; exit 0"#]);
        assert_eq!(split("a '' b"), ["a", "", "b"]);
        assert_eq!(split(r"a\ b"), ["a b"]);
        assert!(split("  ").is_empty());
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        for bad in ["'a", "\"a", "a\\", "\"a\\"] {
            assert!(split(bad).is_err(), "{bad}");
        }
    }
}
