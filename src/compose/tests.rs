//! Broken input: each with the place, the field and the mend; and what must hold for any input.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::{Compat, Digester, StackName, UnsetVariables};

#[derive(Default)]
struct World {
    variables: BTreeMap<String, VariableValue>,
    images: BTreeMap<String, String>,
    attachments: BTreeMap<String, Attachment>,
    compat: Compat,
}

impl World {
    fn render(&self, files: &[(&str, &str)]) -> Result<Render, RenderErrors> {
        let stack = StackName::parse("shop").unwrap();
        let files: Vec<ComposeFile<'_>> = files.iter().map(|&(name, text)| ComposeFile { name, text }).collect();
        let mut attachments = self.attachments.clone();
        attachments.entry("deploy/.env".to_owned()).or_insert_with(|| Err("no such file".to_owned()));
        render(&RenderInput {
            stack: &stack,
            files: &files,
            variables: &self.variables,
            images: &self.images,
            compat: self.compat,
            unset: UnsetVariables::Error,
            attachments: &attachments,
            folder: "deploy",
            confidential: &Confidential::default(),
            digester: &Digester::new([7; 32]),
        })
    }

    fn secret(name: &str, text: &str) -> Self {
        let value = VariableValue { text: text.to_owned(), secret: true };
        Self { variables: BTreeMap::from([(name.to_owned(), value)]), ..Self::default() }
    }

    fn attach(mut self, path: &str, content: Result<Vec<u8>, &str>) -> Self {
        self.attachments.insert(path.to_owned(), content.map(Arc::from).map_err(str::to_owned));
        self
    }

    fn image(service: &str, version: &str) -> Self {
        Self { images: BTreeMap::from([(service.to_owned(), version.to_owned())]), ..Self::default() }
    }

    #[track_caller]
    fn refuses(&self, text: &str, expected: &str) {
        let found = match self.render(&[("s.yml", text)]) {
            Ok(rendered) => panic!("{text}\nwas taken: {rendered:?}"),
            Err(errors) => errors.to_string(),
        };
        assert!(found == expected, "\n{text}\ngave\n{found}\nbut not\n{expected}");
    }
}

#[test]
fn a_fault_in_a_later_file_is_placed_in_that_file() {
    let base = "services:\n  web:\n    image: demo:1\n";
    let over = "services:\n  web:\n    deploy:\n      replicas: many\n";
    let errors = World::default().render(&[("a.yml", base), ("b.yml", over)]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "b.yml:4:17: services.web.deploy.replicas: `many` is not a whole number; write it in digits, such as `3`"
    );
}

#[test]
fn an_override_of_no_service_lists_the_services() {
    World::image("wbe", "1").refuses(
        "services: { web: { image: demo }, db: { image: db } }",
        "images.wbe: there is no service `wbe`; did you mean `web`?",
    );
    World::image("queue", "1").refuses(
        "services: { web: { image: demo }, db: { image: db } }",
        "images.queue: there is no service `queue`; the services are web, db",
    );
    World::image("web", "no tag").refuses(
        "services: { web: { image: demo } }",
        "images.web: `no tag` is not a tag: letters, digits, `_`, `.`, `-`, at most 128; give a tag, a digest, or a whole image",
    );
}

#[test]
fn files_are_asked_for_and_their_faults_are_placed() {
    let text = "services:\n  web:\n    image: demo\n    env_file: ../all.env\nconfigs:\n  c: { file: ./c.txt }\nsecrets:\n  s: { file: s/../s.txt }\n";
    let needs = match World::default().render(&[("s.yml", text)]) {
        Ok(Render::Needs(needs)) => needs.files,
        other => panic!("{other:?}"),
    };
    assert_eq!(needs.into_iter().collect::<Vec<_>>(), ["all.env", "deploy/c.txt", "deploy/s.txt"]);
    World::default()
        .attach("all.env", Ok(b"A=1\nB C=2\n".to_vec()))
        .attach("deploy/c.txt", Ok(vec![b'x'; 1000 * 1024]))
        .attach("deploy/s.txt", Err("no such file"))
        .refuses(
            text,
            "s.yml:4:15: services.web.env_file: `all.env` line 2: has white space in the name; each line is `KEY=VALUE`, `KEY` or a `#` comment\n\
             s.yml:6:14: configs.c.file: the config has 1024000 bytes; Swarm takes less than 1024000; mount a volume for large files\n\
             s.yml:8:14: secrets.s.file: cannot read `deploy/s.txt`: no such file; correct the path, which begins in the file's own folder, or add the file to the repository",
        );
}

#[test]
fn a_secret_variable_is_in_no_error_no_warning_and_no_plain_digest() {
    let text = "services:\n  web:\n    image: demo\n    restart: $KEY\n    x-note: 1\n";
    World::secret("KEY", "hunter2")
        .refuses(text, "s.yml:4:14: services.web.restart: `***` is none of no, always, on-failure, unless-stopped; write one of these, or remove the key");
    let text = "services: { web: { image: demo, labels: { a: $KEY } } }\nconfigs: { c: { content: \"key=$KEY\" } }\n";
    match World::secret("KEY", "hunter2").render(&[("s.yml", text)]) {
        Ok(Render::Done(rendered)) => {
            let plain = crate::domain::Digest::of(b"key=hunter2");
            assert!(rendered.desired.configs.keys().all(|name| !name.ends_with(plain.short())));
            assert!(rendered.warnings.iter().any(|warning| warning.message.contains("stands in a config")));
            assert!(rendered.warnings.iter().all(|warning| !warning.message.contains("hunter2")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_few_lines_cannot_fill_the_memory() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let errors = World::default().render(&[("s.yml", &bomb)]).unwrap_err().to_string();
    assert!(errors.contains("more than 100000 values"), "{errors}");
    for deep in ["[".repeat(100_000), "a: ".to_owned() + &"{a: ".repeat(200), "- ".repeat(5_000)] {
        assert!(World::default().render(&[("s.yml", &deep)]).is_err());
    }
    let nested = "services: { web: { image: demo, hostname: \"".to_owned()
        + &"${A:-".repeat(5_000)
        + &"}".repeat(5_000)
        + "\" } }";
    assert!(World::default().render(&[("s.yml", &nested)]).is_err());
}

#[test]
fn content_addresses_move_with_the_content_alone() {
    let names = |text: &str| match World::default().render(&[("s.yml", text)]) {
        Ok(Render::Done(rendered)) => rendered.desired.configs.into_keys().collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let file = |rest: &str| format!("services: {{ web: {{ image: demo }} }}\nconfigs: {{ c: {{ {rest} }} }}\n");
    let first = names(&file("content: a"));
    assert_eq!(first, names(&file("content: a, labels: { x: y }")));
    assert_ne!(first, names(&file("content: b")));
    assert_ne!(first, names(&file("content: a, template_driver: golang")));
}

#[test]
fn a_last_line_without_a_line_feed_ends_a_block_as_in_the_docker_cli() {
    let text = "services: { web: { image: demo } }\nconfigs:\n  c:\n    content: |\n      text";
    match World::default().render(&[("s.yml", text)]) {
        Ok(Render::Done(rendered)) => {
            assert!(rendered.desired.configs.values().all(|config| config.data == b"text"));
        }
        other => panic!("{other:?}"),
    }
}

/// Whole files to break.
const VALID: [&str; 6] = [
    include_str!("../../tests/compose/container/stack.yml"),
    include_str!("../../tests/compose/files/deploy/stack.yml"),
    include_str!("../../tests/compose/mounts/stack.yml"),
    include_str!("../../tests/compose/networks/stack.yml"),
    include_str!("../../tests/compose/deploy/stack.yml"),
    include_str!("../../tests/compose/interpolation/stack.yml"),
];

fn any_compat() -> impl Strategy<Value = Compat> {
    prop_oneof![Just(Compat::Strict), Just(Compat::Cli)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), compat in any_compat()) {
        let world = World { compat, ..World::default() };
        let _ = world.render(&[("s.yml", &text)]);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "([a-z]{0,3}[:\\-\\[\\]{}&*!<>|'\"#$,? \n]{1,3}){0,40}", compat in any_compat()) {
        let world = World { compat, ..World::default() };
        let _ = world.render(&[("s.yml", &text)]);
    }

    /// A piece of a valid file is cut out, repeated or replaced: the result renders or is refused, twice alike.
    #[test]
    fn no_broken_file_makes_it_panic(
        which in 0..VALID.len(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[ a-z0-9:\\[\\]{}$\"'&*~.-]{0,6}"), 1..4),
        compat in any_compat(),
    ) {
        let mut text: Vec<char> = VALID[which].chars().collect();
        for (place, length, insert) in cuts {
            let start = place.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, insert.chars());
        }
        let text: String = text.into_iter().collect();
        let world = World { compat, ..World::default() };
        let (first, second) = (world.render(&[("s.yml", &text)]), world.render(&[("s.yml", &text)]));
        prop_assert_eq!(&first, &second);
        if let Err(errors) = first {
            prop_assert!(!errors.errors().is_empty());
            prop_assert!(errors.errors().iter().all(|error| !error.message.is_empty()));
        }
        let _ = world.render(&[("a.yml", VALID[which]), ("b.yml", &text)]);
    }

    #[test]
    fn text_without_a_dollar_stays_what_it_is(text in "[ -#%-~äß😀\n]{0,40}", compat in any_compat()) {
        let world = World { compat, ..World::default() };
        let file = serde_json::json!({"services": {"web": {"image": "demo", "labels": {"l": text}}}}).to_string();
        match world.render(&[("s.yml", &file)]) {
            Ok(Render::Done(rendered)) => {
                let service = &rendered.desired.services["shop_web"].spec;
                prop_assert_eq!(&service.task_template.container_spec.labels["l"], &text);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn merging_a_file_with_itself_changes_no_service_that_has_no_lists(replicas in 0_u32..9, memory in 4_u32..99) {
        let file = format!(
            "services: {{ web: {{ image: demo, environment: {{ A: b }}, deploy: {{ replicas: {replicas}, resources: {{ limits: {{ memory: {memory}M }} }} }} }} }}"
        );
        let world = World::default();
        prop_assert_eq!(world.render(&[("s.yml", &file)]), world.render(&[("s.yml", &file), ("s.yml", &file)]));
    }
}
