//! Whether a compose file on this machine depends on the rules of `docker stack deploy`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::compose::{ComposeFile, Confidential, Render, RenderInput, is_alike, render};
use crate::domain::{Compat, Desired, Digester, StackName, UnsetVariables};

/// Whether a file means something else to `docker stack deploy`, or is refused where that takes it.
#[must_use]
pub fn needs_cli(folder: &Path, file: &str) -> bool {
    let read = |compat| desired(folder, file, compat);
    read(Compat::Cli).is_some_and(|cli| !read(Compat::Strict).is_some_and(|strict| is_alike(&strict, &cli)))
}

/// What a compose file of this folder comes to. Variables that are not set are empty: they are to be set in the manifest.
fn desired(folder: &Path, file: &str, compat: Compat) -> Option<Desired> {
    let text = fs::read_to_string(folder.join(file)).ok()?;
    // Nor is `.env` read: that the CLI does not, is no reason to have its values empty.
    let mut attachments = BTreeMap::from([(".env".to_owned(), Err("left out".to_owned()))]);
    loop {
        let input = RenderInput {
            stack: &StackName::parse("stack").ok()?,
            files: &[ComposeFile { name: file, text: &text }],
            variables: &BTreeMap::new(),
            images: &BTreeMap::new(),
            compat,
            unset: UnsetVariables::Empty,
            attachments: &attachments,
            folder: "",
            confidential: &Confidential::default(),
            // The digests are compared with one another alone.
            digester: &Digester::new([0; 32]),
        };
        match render(&input).ok()? {
            Render::Done(done) => return Some(done.desired),
            Render::Needs(needs) => {
                let missing: Vec<String> =
                    needs.files.into_iter().filter(|path| !attachments.contains_key(path)).collect();
                if missing.is_empty() {
                    return None;
                }
                attachments.extend(missing.into_iter().map(|path| {
                    let content = fs::read(folder.join(&path)).map(Arc::from).map_err(|error| error.to_string());
                    (path, content)
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_cli_are_asked_for_where_a_file_depends_on_them() {
        let folder = tempfile::tempdir().unwrap();
        for (text, needs) in [
            ("services: { web: { image: 'nginx:1', env_file: web.env } }\n", false),
            ("services: { web: { image: 'nginx:${TAG}', environment: [ 'A=${B}' ] } }\n", false),
            ("services: { web: { image: 'nginx:1', environment: [ 'A=${FROM_ENV}' ] } }\n", false),
            ("services: { web: { image: 'nginx:1', privileged: true } }\n", true),
            ("services: { web: { image: 'nginx:1', environment: [ 'A=${X:-${Y}}' ] } }\n", true),
            ("services: { web: { image: 'nginx:1', group_add: [audio] } }\n", false),
            ("services: { web: { image: 'nginx:1', nonsense: 1 } }\n", false),
        ] {
            fs::write(folder.path().join("web.env"), "A=1\n").unwrap();
            fs::write(folder.path().join(".env"), "FROM_ENV=1\n").unwrap();
            fs::write(folder.path().join("compose.yml"), text).unwrap();
            assert_eq!(needs_cli(folder.path(), "compose.yml"), needs, "{text}");
        }
    }
}
