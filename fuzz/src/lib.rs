//! The pure rooms that fuzzing is about, compiled from Skep's own sources.
#![allow(dead_code, unused_imports, unreachable_pub)]

#[path = "../../src/compose/mod.rs"]
pub mod compose;
#[path = "../../src/domain/mod.rs"]
pub mod domain;

use std::collections::BTreeMap;

use compose::{Attachment, ComposeFile, Confidential, Render, RenderErrors, RenderInput, VariableValue, render};
use domain::{Compat, Digester, StackName, UnsetVariables};

/// Renders files, with whatever they name being this text; twice, and it must come to the same.
pub fn run(files: &[&str], attachment: &str) {
    let stack = StackName::parse("shop").expect("a name");
    let digester = Digester::new([7; 32]);
    let secret = |text: &str, secret| VariableValue { text: text.to_owned(), secret };
    let variables = BTreeMap::from([
        ("A".to_owned(), secret("value", false)),
        ("E".to_owned(), secret("", false)),
        ("S".to_owned(), secret("hunter2hunter2", true)),
        ("COMPOSE_PROFILES".to_owned(), secret("a,b", false)),
    ]);
    let files: Vec<ComposeFile<'_>> = files.iter().map(|text| ComposeFile { name: "s.yml", text }).collect();
    for compat in [Compat::Strict, Compat::Cli] {
        let once = || -> Result<Render, RenderErrors> {
            let mut attachments: BTreeMap<String, Attachment> = BTreeMap::new();
            for _ in 0..4 {
                let result = render(&RenderInput {
                    stack: &stack,
                    files: &files,
                    variables: &variables,
                    images: &BTreeMap::new(),
                    compat,
                    unset: UnsetVariables::Empty,
                    attachments: &attachments,
                    folder: "deploy",
                    confidential: &Confidential::default(),
                    digester: &digester,
                })?;
                let Render::Needs(needs) = result else { return Ok(result) };
                let paths = needs.files;
                if paths.is_empty() {
                    return Ok(Render::Needs(Default::default()));
                }
                assert!(paths.iter().all(|path| !attachments.contains_key(path)), "asked for twice: {paths:?}");
                for path in paths {
                    assert!(!path.starts_with('/') && path.split('/').all(|step| !matches!(step, "" | "." | "..")));
                    attachments.insert(path, Ok(attachment.as_bytes().into()));
                }
            }
            Ok(Render::Needs(Default::default()))
        };
        let (first, second) = (once(), once());
        assert_eq!(first, second);
        match first {
            Err(errors) => {
                assert!(!errors.errors().is_empty());
                assert!(!errors.to_string().contains("hunter2hunter2"), "a secret in an error: {errors}");
            }
            Ok(Render::Done(done)) => {
                assert!(done.warnings.iter().all(|warning| !warning.message.contains("hunter2hunter2")));
            }
            Ok(Render::Needs(_)) => {}
        }
    }
}
