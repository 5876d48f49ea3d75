//! Image references: what is valid, what Docker makes of it, and what an override puts in its place.

/// An image reference in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reference<'a> {
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

/// `image` as the engine is to be sent it: checked, in the familiar form (without `docker.io/` and `library/`), with
/// `:latest` when it names neither tag nor digest.
pub(super) fn familiar(image: &str) -> Result<String, String> {
    let Reference { name, tag, digest } = parse(image)?;
    let name = match name.strip_prefix("docker.io/").or_else(|| name.strip_prefix("index.docker.io/")) {
        Some(rest) => rest.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(rest),
        None => name.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(name),
    };
    Ok(match (tag, digest) {
        (None, None) => format!("{name}:latest"),
        (Some(tag), None) => format!("{name}:{tag}"),
        (None, Some(digest)) => format!("{name}@{digest}"),
        (Some(tag), Some(digest)) => format!("{name}:{tag}@{digest}"),
    })
}

/// `image` with the override put in: a tag or `sha256:…` replaces tag and digest, a whole reference replaces everything.
/// Without an image in the file only a whole reference will do.
pub(super) fn overridden(image: Option<&str>, version: &str) -> Result<String, String> {
    let digest = version.starts_with("sha256:");
    if !digest && (version.contains('/') || version.contains(':') || version.contains('@')) {
        parse(version)?;
        return Ok(version.to_owned());
    }
    let image = image.ok_or_else(|| format!("`{version}` replaces a tag, but the service has no image"))?;
    let name = parse(image)?.name;
    if digest {
        check_digest(version)?;
        return Ok(format!("{name}@{version}"));
    }
    check_tag(version)?;
    Ok(format!("{name}:{version}"))
}

fn parse(image: &str) -> Result<Reference<'_>, String> {
    let invalid = |why: &str| format!("`{image}` is not an image reference: {why}");
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    // A colon in front of the last slash belongs to a port.
    let path = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest.get(path..).and_then(|last| last.split_once(':')) {
        Some((last, tag)) => (rest.get(..path + last.len()).unwrap_or(rest), Some(tag)),
        None => (rest, None),
    };
    if name.is_empty() {
        return Err(invalid("it has no name"));
    }
    if let Some(digest) = digest {
        check_digest(digest).map_err(|why| invalid(&why))?;
    }
    if let Some(tag) = tag {
        check_tag(tag).map_err(|why| invalid(&why))?;
    }
    let (domain, repository) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || has_upper(first) => {
            (Some(first), rest)
        }
        _ => (None, name),
    };
    if has_upper(repository) {
        return Err(invalid("its name must be in lower case"));
    }
    if !repository.split('/').all(component) || domain.is_some_and(|domain| !is_domain(domain)) {
        return Err(invalid("its name may hold letters, digits, `.`, `_`, `-`, and `/` between parts"));
    }
    if tag.is_none() && digest.is_none() && repository.len() == 64 && repository.bytes().all(|c| c.is_ascii_hexdigit())
    {
        return Err(invalid("it is an id, not a name"));
    }
    Ok(Reference { name, tag, digest })
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|c| c.is_ascii_uppercase())
}

/// Lower-case letters and digits, with `.`, `_`, `__` or any number of `-` between them.
fn component(text: &str) -> bool {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inside = text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'_' | b'-'));
    let doubled = text.contains("..")
        || text.contains("___")
        || ["._", "_.", ".-", "-.", "_-", "-_"].iter().any(|pair| text.contains(pair));
    inside && !doubled && edge(text.bytes().next()) && edge(text.bytes().last())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty()
        && (bracketed || host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-')))
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()))
}

fn check_tag(tag: &str) -> Result<(), String> {
    let first = tag.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_');
    let rest = tag.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'));
    if first && rest && tag.len() <= 128 {
        return Ok(());
    }
    Err(format!("`{tag}` is not a tag: letters, digits, `_`, `.`, `-`, at most 128"))
}

fn check_digest(digest: &str) -> Result<(), String> {
    let valid = digest.split_once(':').is_some_and(|(algorithm, hex)| {
        let long = match algorithm {
            "sha256" => hex.len() == 64,
            "sha384" => hex.len() == 96,
            "sha512" => hex.len() == 128,
            _ => false,
        };
        long && hex.bytes().all(|c| c.is_ascii_digit() || matches!(c, b'a'..=b'f'))
    });
    if valid { Ok(()) } else { Err(format!("`{digest}` is not a digest: `sha256:` and 64 hexadecimal digits")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_reference_becomes_familiar() {
        let pinned = format!("nginx:1@{DIGEST}");
        for (image, expected) in [
            ("nginx", "nginx:latest"),
            ("docker.io/library/nginx:1", "nginx:1"),
            ("docker.io/a/b", "a/b:latest"),
            ("registry:5000/a/b:2", "registry:5000/a/b:2"),
            ("registry:5000/a/b", "registry:5000/a/b:latest"),
            ("localhost/a", "localhost/a:latest"),
            (&pinned, &pinned),
        ] {
            assert_eq!(familiar(image).as_deref(), Ok(expected), "{image}");
        }
        for bad in ["", "Nginx", ":1", "a:b c", "a@sha256:1", "a//b", "-a", "a:", "a/B:1", &"a".repeat(64), "{{.X}}"] {
            assert!(familiar(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_override_is_a_tag_a_digest_or_a_reference() {
        let (pinned, name_pinned) = (format!("a/b:1@{DIGEST}"), format!("a/b@{DIGEST}"));
        assert_eq!(overridden(Some("a/b:1"), "2.0").as_deref(), Ok("a/b:2.0"));
        assert_eq!(overridden(Some(&pinned), "2.0").as_deref(), Ok("a/b:2.0"));
        assert_eq!(overridden(Some("a/b:1"), DIGEST).as_deref(), Ok(name_pinned.as_str()));
        assert_eq!(overridden(Some("r:5000/a"), "2").as_deref(), Ok("r:5000/a:2"));
        assert_eq!(overridden(Some("a:1"), "c/d:9").as_deref(), Ok("c/d:9"));
        assert_eq!(overridden(None, "c:9").as_deref(), Ok("c:9"));
        assert!(overridden(None, "9").is_err());
        assert!(overridden(Some("a"), "sha256:12").is_err());
        assert!(overridden(Some("a"), "x y").is_err());
    }
}
