//! What an image's tag stands for: the engine asks the registry, as it would before a pull.

use serde::Deserialize;

use super::session::Session;
use crate::domain::Platform;
use crate::ports::{ImageError, ResolvedImage, SwarmError};

/// The engine's answer. Unlike everywhere else in its API, the platforms are in small letters.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireDistribution {
    descriptor: WireDescriptor,
    #[serde(default)]
    platforms: Option<Vec<WirePlatform>>,
}

#[derive(Deserialize)]
struct WireDescriptor {
    digest: String,
}

#[derive(Deserialize)]
struct WirePlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

impl WirePlatform {
    /// As `docker service create` sends it: without the architecture for `arm`, whose variants swarmkit does not tell
    /// apart, so that the tasks would be placed nowhere.
    fn platform(self) -> Platform {
        let arm = self.architecture.eq_ignore_ascii_case("arm");
        Platform { architecture: if arm { String::new() } else { self.architecture }, os: self.os }
    }
}

impl Session {
    /// Asks the registry of an image, through the engine.
    pub(super) async fn resolve_image(&self, image: &str) -> Result<ResolvedImage, ImageError> {
        let login = self.login(image).map_err(|error| ImageError::Denied(error.to_string()))?;
        let object = format!("image `{image}`");
        let path = format!("/distribution/{image}/json");
        let found: WireDistribution = self.read_with_login(&path, login, &object).await.map_err(meaning)?;
        if !found.descriptor.digest.starts_with("sha256:") {
            let digest = &found.descriptor.digest;
            return Err(ImageError::Unreachable(format!("its digest `{digest}` is none that an engine pulls by")));
        }
        let platforms = platforms(found.platforms.unwrap_or_default());
        Ok(ResolvedImage { digest: found.descriptor.digest, platforms })
    }
}

/// As `docker service create` sends them: each once, and none of the entries `unknown`, which stand for attestations.
fn platforms(found: Vec<WirePlatform>) -> Vec<Platform> {
    let unknown = |it: &WirePlatform| [&it.architecture, &it.os].iter().any(|it| it.eq_ignore_ascii_case("unknown"));
    let mut platforms = Vec::new();
    for platform in found.into_iter().filter(|it| !unknown(it)).map(WirePlatform::platform) {
        if platform != Platform::default() && !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    platforms
}

/// The engine passes the registry's error on as text, mostly with status 500.
fn meaning(error: SwarmError) -> ImageError {
    let reason = match &error {
        SwarmError::NotFound { reason, .. }
        | SwarmError::Refused { reason, .. }
        | SwarmError::Engine { reason, .. } => reason.clone(),
        _ => return ImageError::Engine(error),
    };
    let said = reason.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["toomanyrequests", "too many requests", "status 429"]) {
        ImageError::Busy { reason, retry_after: None }
    } else if says(&["unauthorized", "denied", "authentication required", "no basic auth", "incorrect username"]) {
        ImageError::Denied(reason)
    } else if says(&["manifest unknown", "name unknown", "not found", "does not exist"]) {
        ImageError::Missing(reason)
    } else {
        ImageError::Unreachable(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_each_there_once_and_attestations_are_none() {
        let found = |list: &[(&str, &str)]| {
            let wire = |(architecture, os): &(&str, &str)| WirePlatform {
                architecture: (*architecture).to_owned(),
                os: (*os).to_owned(),
            };
            let told = |it: Platform| format!("{}/{}", it.os, it.architecture);
            platforms(list.iter().map(wire).collect()).into_iter().map(told).collect::<Vec<_>>()
        };
        let list = [("amd64", "linux"), ("unknown", "unknown"), ("arm", "linux"), ("arm", "linux"), ("", "")];
        assert_eq!(found(&list), ["linux/amd64", "linux/"]);
    }

    #[test]
    fn a_registrys_words_have_a_meaning() {
        let meaning =
            |text: &str| super::meaning(SwarmError::Engine { endpoint: "unix:///x".into(), reason: text.to_owned() });
        assert!(matches!(meaning("manifest unknown: manifest unknown (status 500)"), ImageError::Missing(_)));
        assert!(matches!(meaning("errors: denied: requested access to the resource is denied"), ImageError::Denied(_)));
        assert!(matches!(meaning("toomanyrequests: You have reached your pull rate limit"), ImageError::Busy { .. }));
        assert!(matches!(meaning("dial tcp: lookup r.example: no such host"), ImageError::Unreachable(_)));
        let gone = SwarmError::Unreachable { endpoint: "unix:///x".into(), reason: "gone".into() };
        assert!(matches!(super::meaning(gone), ImageError::Engine(_)));
    }
}
