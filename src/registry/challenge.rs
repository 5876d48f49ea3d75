//! What a registry asks for before it answers: the header `WWW-Authenticate` of its 401, as the Distribution project's
//! [token authentication](https://distribution.github.io/distribution/spec/auth/token/) describes it, or basic sign-in.

/// One demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token, which somebody else gives out.
    Bearer {
        /// Who.
        realm: String,
        /// For which service.
        service: Option<String>,
        /// To do what.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads a header. Of several demands in it the first that is known counts.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let fields = fields(rest);
        let field = |name: &str| {
            fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        Some(Self::Bearer { realm: field("realm")?, service: field("service"), scope: field("scope") })
    }
}

/// `name="value"` between commas; a value in quotes may hold commas.
fn fields(text: &str) -> Vec<(String, String)> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_owned();
        let (value, further) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.push((name, value.trim().to_owned()));
        rest = further;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Distribution project's page on token authentication.
    #[test]
    fn the_published_example_is_read() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:samalba/my-app:pull,push""#;
        let wanted = Challenge::Bearer {
            realm: "https://auth.docker.io/token".into(),
            service: Some("registry.docker.io".into()),
            scope: Some("repository:samalba/my-app:pull,push".into()),
        };
        assert_eq!(Challenge::parse(header), Some(wanted));
    }

    #[test]
    fn what_is_not_known_is_no_demand() {
        assert_eq!(Challenge::parse("Basic realm=\"tests\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        for odd in ["", "Negotiate", "Bearer", "Bearer service=\"x\"", "Bearer realm", "=\"\",,"] {
            assert_eq!(Challenge::parse(odd), None, "{odd}");
        }
        let bare = Challenge::Bearer { realm: "https://a/t".into(), service: Some("b".into()), scope: None };
        assert_eq!(Challenge::parse("Bearer realm=https://a/t, service=b"), Some(bare));
    }
}
