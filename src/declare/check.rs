//! Checks of single values, shared by manifests and direct requests. Each gives a phrase that says what is wrong.

use crate::domain::{Policy, Range};

/// The longest ref, path, or image that is taken.
const LONGEST: usize = 512;

fn clean(what: &str, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    if text.len() > LONGEST {
        return Err(format!("the {what} is longer than {LONGEST} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("the {what} holds a control character"));
    }
    Ok(())
}

/// A ref: a branch, a tag, `refs/…`, a commit, or a range over tags.
pub(super) fn wanted(text: &str) -> Result<String, String> {
    clean("ref", text)?;
    let text = text.trim();
    let range = text.starts_with(['>', '<', '=', '~', '^', '*']) || text.contains(' ');
    if range {
        return match Range::parse(text) {
            Some(_) => Ok(text.to_owned()),
            None => Err(format!("`{text}` is not a range over tags; write for example \">=1.2 <2\"")),
        };
    }
    let bad = text.starts_with(['-', '/', '.'])
        || text.ends_with(['/', '.'])
        || text.ends_with(".lock")
        || text.contains("..")
        || text.contains("@{")
        || text.contains("//")
        || text.contains([':', '?', '[', '\\', '*', '^', '~']);
    if bad {
        Err(format!("`{text}` is not a name git takes for a branch, a tag or a commit"))
    } else {
        Ok(text.to_owned())
    }
}

/// A tag of an image, or a range over tags.
pub(super) fn tag_or_range(text: &str) -> Result<(), String> {
    clean("version", text)?;
    let tag = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if tag || Range::parse(text).is_some() {
        Ok(())
    } else {
        Err(format!("`{text}` is neither a tag nor a range over tags; write for example \"1.4.2\" or \">=1.4 <2\""))
    }
}

/// A folder in the repository: relative, without `..`; the root is empty.
pub(super) fn folder(text: &str) -> Result<String, String> {
    let trimmed = text.trim_start_matches("./").trim_end_matches('/');
    if trimmed.is_empty() || trimmed == "." {
        return if text.starts_with('/') { Err("the path must be relative".to_owned()) } else { Ok(String::new()) };
    }
    file(trimmed)
}

/// A file in the repository: relative, without `..`.
pub(super) fn file(text: &str) -> Result<String, String> {
    clean("path", text)?;
    if text.starts_with('/') {
        return Err(format!("`{text}` must be relative to the repository"));
    }
    let text = text.trim_start_matches("./");
    if text.split('/').any(|part| part == "..") {
        return Err(format!("`{text}` leaves the folder it belongs to; remove the `..`"));
    }
    if text.split('/').any(str::is_empty) || text.contains('\\') {
        return Err(format!("`{text}` is not a path in a repository"));
    }
    Ok(text.to_owned())
}

/// The name of a variable.
pub(super) fn variable(name: &str) -> Result<(), String> {
    let good = name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if good {
        return Ok(());
    }
    Err(format!("`{name}` is not a variable's name: letters, digits and `_`, not beginning with a digit"))
}

/// The name of a service, as it stands in a compose file.
pub(super) fn service(name: &str) -> Result<(), String> {
    clean("name of the service", name)?;
    if name.chars().any(|c| c.is_whitespace() || c == '/') {
        return Err(format!("`{name}` is not a service's name"));
    }
    Ok(())
}

/// A pattern for names of stacks, with or without the environment.
pub(super) fn stacks(pattern: &str) -> Result<(), String> {
    clean("name of the stack", pattern)?;
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.*".contains(c));
    let whole = match pattern.split_once('/') {
        Some((environment, name)) => part(environment) && part(name),
        None => part(pattern),
    };
    if whole { Ok(()) } else { Err(format!("`{pattern}` is not the name of a stack")) }
}

/// A desired version: a tag, a digest, or a whole image reference.
pub(super) fn image(text: &str) -> Result<(), String> {
    clean("version", text)?;
    let wrong = |why: &str| Err(format!("`{text}` is not a version: {why}; give a tag, sha256:…, or a whole image"));
    if text.chars().any(char::is_whitespace) || text.starts_with(['>', '<', '~', '^', '=']) {
        return wrong("a range is followed by a rule in the manifest, `images: { SERVICE: { semver: … } }`");
    }
    let part = text.rsplit_once('@').map_or(text, |(_, digest)| digest);
    if let Some(hex) = part.strip_prefix("sha256:") {
        let good = hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        return if good { Ok(()) } else { wrong("a digest has 64 lower-case hex digits") };
    }
    let good = |c: char| c.is_ascii_alphanumeric() || "._-/:@+".contains(c);
    if !text.chars().all(good) || !text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        return wrong("it holds a character that images do not have");
    }
    if !text.contains(['/', ':', '@']) && text.len() > 128 {
        return wrong("a tag has at most 128 characters");
    }
    Ok(())
}

/// `host:port`.
pub(super) fn host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.trim_end_matches('/').rsplit_once(':') else { return false };
    !host.is_empty() && !host.contains(['/', '@']) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The address of another Skep: https, or http on this machine, with neither user nor query. Without a slash at its end.
pub(super) fn skep_address(text: &str) -> Result<String, String> {
    clean("address", text)?;
    let url = reqwest::Url::parse(text).map_err(|_| format!("`{text}` is not an address"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address holds a user name or password; the token belongs into the credential".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() || url.host_str().is_none() {
        return Err(format!("`{text}` is not the address of a server"));
    }
    if !crate::keys::may_carry_secrets(&url) {
        return Err(format!("`{text}` is not https: the token would cross the network in the clear"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// `[user@]host[:port]`, as ssh takes it.
pub(super) fn ssh_address(text: &str) -> bool {
    let text = text.trim_end_matches('/');
    let (user, host) = text.rsplit_once('@').map_or((None, text), |(user, host)| (Some(user), host));
    let named = |name: &str| {
        !name.is_empty()
            && !name.starts_with('-')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    user.is_none_or(named) && crate::domain::CredentialHost::parse(host).is_ok()
}

/// The name of a hook: it is part of an address.
pub(super) fn hook_name(name: &str) -> Result<(), String> {
    let good = !name.is_empty()
        && name.len() <= 63
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if good {
        return Ok(());
    }
    Err(format!("hook name `{name}` may hold only letters, digits, `-` and `_`, at most 63 of them"))
}

/// A pattern for names of stacks: what a name may hold, and `*`.
pub(super) fn pattern(text: &str) -> Result<(), String> {
    let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_*".contains(c));
    if good { Ok(()) } else { Err(format!("`{text}` is not a pattern for names of stacks, such as `shop` or `shop*`")) }
}

/// Deadlines that fit each other.
pub(super) fn deadlines(policy: &Policy) -> Result<(), String> {
    if policy.progress_deadline > policy.total_deadline {
        return Err("`policy.progressDeadline` is longer than `policy.totalDeadline`".to_owned());
    }
    if policy.monitor >= policy.total_deadline {
        return Err("`policy.monitor` is not shorter than `policy.totalDeadline`: nothing could converge".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_that_git_takes_are_taken() {
        for good in ["main", "refs/heads/x", "feature/a-b", "v1.2.3", "0123abc", ">=1.2 <2", ">=1.2, <2", "~1.4", "*"] {
            assert!(wanted(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a..b", "a b c", "x.lock", "a:b", ">=x", "a\nb", "/x", "a@{1}"] {
            assert!(wanted(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_stay_in_the_repository() {
        assert_eq!(folder("./deploy/").as_deref(), Ok("deploy"));
        assert_eq!(folder(".").as_deref(), Ok(""));
        for bad in ["/etc", "/", "a/../..", "..", "a//b", "a\\b"] {
            assert!(folder(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_are_tags_digests_or_images() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for good in ["1.4.2", "latest", &digest, "nginx:1.25", "host:5000/a/b:1", &format!("nginx@{digest}")] {
            assert!(image(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "~1.4", ">=1", "sha256:abc", "-x", "a$b"] {
            assert!(image(bad).is_err(), "{bad:?}");
        }
    }
}
