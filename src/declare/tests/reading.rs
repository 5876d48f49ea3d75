//! Manifests: what is taken, and what is refused where.

use super::*;
use crate::domain::{Compat, Mode, Source};
use jiff::SignedDuration;

fn read(text: &str) -> Result<Manifest, DeclareError> {
    Manifest::read(text, Some("shop.yml"), &References::new(), &Reversed, &Limits::default())
}

/// The refusals of a text as `line:column code message; hint`.
fn refused(text: &str) -> Vec<String> {
    let Err(error) = read(text) else { panic!("it was taken: {text}") };
    error
        .refusals()
        .iter()
        .map(|it| {
            assert_eq!(it.file.as_deref(), Some("shop.yml"), "{it}");
            let (line, column) = (it.line.unwrap_or(0), it.column.unwrap_or(0));
            let hint = it.hint.as_ref().map_or(String::new(), |hint| format!("; {hint}"));
            format!("{line}:{column} {} {}{hint}", it.code.as_str(), it.message)
        })
        .collect()
}

#[test]
fn a_whole_stack_is_read() {
    let text = "\
kind: Stack
name: shop
environment: default
source: { git: https://example.org/shop.git, ref: \">=1.2 <2\", path: ./deploy/, poll: 30s }
compose: [a.yml, b/c.yml]
compat: cli
variables: { A: 1.10, B: { value: x, secret: false }, C: { value: no } }
images: { web: 1.20, db: 'postgres:16' }
decryption: { credential: shop-age }
dependsOn: [{ stack: db }, { stack: auth, environment: prod, images: { api: ~1.4 } }]
policy:
  mode: observe
  onFailure: hold
  irreversible: true
  progressDeadline: 1m30s
  totalDeadline: 2h
  monitor: 500ms
  drift: report
  ignore: ['web:/Mode/Replicated/Replicas']
  report: ['*:/Labels/owner']
  prune: false
  images: never
  unsetVariables: empty
  allowRecreate: true
  schedule:
    zone: Europe/Berlin
    windows: [{ days: [Mon, Fri], from: 22:00, to: 04:00 }]
    freezes: [{ from: 2026-12-20, to: 2027-01-04T06:00, reason: holidays }]
";
    let manifest = read(text).unwrap();
    let Body::Stack(key, spec) = &manifest.documents[0].body else { panic!("no stack") };
    assert_eq!(key, &shop());
    let Source::Git(git) = &spec.source else { panic!("no git") };
    assert_eq!((git.wanted.0.as_str(), git.path.as_str()), (">=1.2 <2", "deploy"));
    assert_eq!(git.poll, SignedDuration::from_secs(30));
    assert_eq!(spec.compose, ["a.yml", "b/c.yml"]);
    assert_eq!((spec.compat, spec.policy.mode), (Compat::Cli, Mode::Observe));
    assert_eq!(spec.decryption.as_ref().map(ToString::to_string).as_deref(), Some("shop-age"));
    assert_eq!(spec.named_images()["web"], "1.20");
    assert_eq!(serde_json::to_value(&spec.variables).unwrap()["A"]["Plain"], "1.10");
    assert_eq!(serde_json::to_value(&spec.variables).unwrap()["C"]["Plain"], "no");
    assert_eq!(spec.policy.monitor, SignedDuration::from_millis(500));
    assert!(!spec.policy.prune && spec.policy.irreversible && spec.policy.allow_recreate);
    assert_eq!(spec.policy.ignore[0].path, "/Mode/Replicated/Replicas");
    assert_eq!(String::from(spec.policy.report[0].clone()), "*:/Labels/owner");
    let names: Vec<String> = spec.depends_on.iter().map(|it| it.stack.to_string()).collect();
    assert_eq!(names, ["default/db", "prod/auth"]);
    assert_eq!(spec.depends_on[1].images["api"], "~1.4");
    let schedule = &spec.policy.schedule;
    assert_eq!((schedule.windows[0].days.len(), schedule.windows[0].from.hour()), (2, 22));
    assert_eq!(schedule.freezes[0].to.to_string(), "2027-01-04T06:00:00");
}

#[test]
fn unknown_fields_are_named_with_place_and_likeness() {
    let text = "kind: Stack\nname: shop\nsource: { git: https://h/x, ref: main, brnch: x }\npolicy:\n  onFailur: hold\n  zzz: 1\n";
    let found = refused(text);
    assert_eq!(found[0], "3:40 INVALID unknown field `source.brnch`; known here: git, ref, path, credential, poll");
    assert_eq!(found[1], "5:3 INVALID unknown field `policy.onFailur`; did you mean `onFailure`?");
    assert!(found[2].starts_with("6:3 INVALID unknown field `policy.zzz`; known here: mode"), "{}", found[2]);
}

#[test]
fn a_relay_is_reached_over_tls_with_a_credential_and_has_no_endpoints() {
    let relay = |inside: &str| format!("kind: Environment\nname: e\nrelay: {{ {inside} }}\n");
    let manifest = read(&relay("url: 'https://h/skep/', credential: far")).unwrap();
    let Body::Environment(it) = &manifest.documents[0].body else { panic!("an environment") };
    let known = it.relay.as_ref().unwrap();
    assert_eq!((known.url.as_str(), known.environment.as_str()), ("https://h/skep", "default"));
    assert!(it.endpoints.is_empty() && read(&relay("url: 'http://127.0.0.1:1', credential: far")).is_ok());
    for (text, wanted) in [
        (relay("url: 'http://h', credential: far"), "in the clear"),
        (relay("url: 'https://u:p@h', credential: far"), "the token belongs into the credential"),
        (relay("url: 'https://h'"), "`relay.credential` is missing"),
        (relay("credential: far"), "`relay.url` is missing"),
        (relay("url: 'https://h', credential: far, beat: 5m"), "longer than a minute"),
        (relay("url: 'https://h', credential: far") + "endpoints: [unix:///x]\n", "exclude each other"),
    ] {
        let found = refused(&text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].contains(wanted), "{text}: {found:?}");
    }
}

#[test]
fn images_are_named_or_followed_by_one_rule() {
    let stack = "kind: Stack\nname: s\ninline: x\nimages:\n";
    let text = format!(
        "{stack}  a: {{ semver: ~1.4 }}\n  b: {{ digest: stable, poll: 30s }}\n  \
         c: {{ pattern: '^build-(?<n>\\d+)$' }}\n  d: 1.10\n"
    );
    let manifest = read(&text).unwrap();
    let Body::Stack(_, spec) = &manifest.documents[0].body else { panic!("a stack") };
    let rules: Vec<String> =
        spec.followed_images().map(|(service, it)| format!("{service} {} {:#}", it.rule, it.poll)).collect();
    assert_eq!(rules, ["a semver: ~1.4 5m", "b digest: stable 30s", "c pattern: ^build-(?<n>\\d+)$ 5m"]);
    assert_eq!(spec.named_images(), [("d".to_owned(), "1.10".to_owned())].into());
    for (images, wanted) in [
        ("  a: { }\n", "5:6 INVALID `images.a` has to say one of `semver`, `digest` and `pattern`"),
        ("  a: { semver: ~1, digest: x }\n", "5:6 INVALID `images.a` has to say one of"),
        ("  a: { semver: main }\n", "5:16 INVALID `main` is not a range of versions"),
        ("  a: { digest: 'a b' }\n", "5:16 INVALID `a b` is not a tag"),
        ("  a: { pattern: '(' }\n", "5:17 INVALID `(` is not a regular expression"),
        ("  a: { semver: ~1, poll: 0s }\n", "5:26 INVALID `images.a.poll` is 0s; the least is 1s"),
        ("  a: { semver: ~1, every: 1m }\n", "5:20 INVALID unknown field `images.a.every`"),
        ("  a: ~1.4\n", "5:6 INVALID `~1.4` is not a version: a range is followed by a rule"),
    ] {
        let found = refused(&format!("{stack}{images}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(wanted), "{found:?}");
    }
}

#[test]
fn bad_values_are_refused_where_they_stand() {
    for (text, wanted) in [
        ("kind: Stack\nname: -s\ninline: x\n", "2:7 INVALID stack name `-s`"),
        (
            "kind: Stck\n",
            "1:7 INVALID `kind` cannot be `Stck`; it is one of Stack, Environment, Credential, Hook, Catalog, Notifier; did you mean `Stack`?",
        ),
        ("name: x\n", "1:1 INVALID the document has no `kind`"),
        ("kind: Stack\nname: s\n", "1:1 INVALID the stack has no `source`"),
        (
            "kind: Stack\nname: s\ninline: x\nsource: { git: https://h/x, ref: m }\n",
            "3:9 INVALID `source` and `inline`",
        ),
        ("kind: Stack\nname: s\ninline: x\ncompose: [a]\n", "4:10 INVALID `compose` has no meaning"),
        (
            "kind: Stack\nname: s\nsource: { git: 'https://u:p@h/x', ref: m }\n",
            "3:16 INVALID the address of the repository holds",
        ),
        ("kind: Stack\nname: s\nsource: { git: https://h/x }\n", "3:9 INVALID `source.ref` is missing"),
        ("kind: Stack\nname: s\nsource: { git: https://h/x, ref: m, path: ../x }\n", "3:43 INVALID `../x` leaves"),
        (
            "kind: Stack\nname: s\ninline: x\npolicy: { prune: 'yes' }\n",
            "4:18 INVALID `policy.prune` must be true or false",
        ),
        ("kind: Stack\nname: s\ninline: x\npolicy: { monitor: 5 }\n", "4:20 INVALID `5` is not a duration"),
        (
            "kind: Stack\nname: s\ninline: x\npolicy: { totalDeadline: 1m }\n",
            "4:9 INVALID `policy.progressDeadline` is longer",
        ),
        ("kind: Stack\nname: s\ninline: x\nvariables: { 1A: x }\n", "4:14 INVALID `1A` is not a variable's name"),
        (
            "kind: Stack\nname: s\ninline: x\nvariables: [x]\n",
            "4:12 INVALID `variables` must be a mapping, and is a list",
        ),
        ("kind: Stack\nname: s\ninline: x\nvariables: { A: }\n", "INVALID `variables.A` must be text, and is nothing"),
        ("kind: Environment\nname: e\nendpoints: [http://x]\n", "3:13 INVALID `http://x` is not an engine's address"),
        ("- a\n", "1:1 INVALID the document must be a mapping, and is a list"),
    ] {
        let found = refused(text);
        assert!(found.iter().any(|it| it.contains(wanted)), "{text}\n{found:#?}");
    }
}

#[test]
fn broken_yaml_is_refused_with_its_place_in_the_whole_text() {
    let found = refused("kind: Stack\nname: s\ninline: x\n---\nkind: Stack\nname: [\n");
    assert!(found[0].contains("INVALID it is not YAML"), "{found:?}");
    assert!(found[0].starts_with('6') || found[0].starts_with('7'), "{found:?}");
    let twice = refused("kind: Stack\nname: s\nname: t\ninline: x\n");
    assert!(twice[0].starts_with("3:1 "), "{twice:?}");
}

#[test]
fn a_secret_is_in_no_message_and_not_in_the_original() {
    let bad = "kind: Stack\nname: s\ninline: x\nvariables:\n  A: { value: hunter2hunter2, secret: 'x', more: 1 }\n";
    assert!(refused(bad).iter().all(|it| !it.contains("hunter2")));
    for text in [
        "kind: Stack\nname: s\ninline: x\nvariables:\n  A: { value: \"hun\\x74er2\", secret: true }\n",
        "kind: Stack\nname: s\ninline: x\nvariables:\n  A:\n    secret: TRUE\n    value: |\n      hunter2\n",
        "kind: Hook\nname: h\nprovider: Generic\nsecret: { value: hunter2hunter2 }\nrules: [{ stacks: [s] }]\n",
    ] {
        let original = read(text).unwrap().documents[0].original.to_string();
        assert!(!original.contains("hun") && original.contains("***"), "{original}");
    }
}

#[test]
fn two_documents_for_one_thing_are_refused() {
    let found = refused("kind: Stack\nname: s\ninline: x\n---\nkind: Stack\nname: s\ninline: y\n");
    assert!(
        found[0].starts_with("6:7 INVALID stack `s` in environment `default` is declared twice, first in line 2"),
        "{found:?}"
    );
}

#[test]
fn a_hook_is_read() {
    let text = "\
kind: Hook
name: shop-push
provider: GitHub
secret: { value: longenough }
rules: [{ when: 'ref == \"refs/heads/main\"', stacks: [\"shop*\"], environment: prod, set: { ref: after } }]
";
    let manifest = read(text).unwrap();
    let Body::Hook(hook) = &manifest.documents[0].body else { panic!("no hook") };
    assert_eq!(hook.rules[0].set["ref"], "after");
    assert_eq!(hook.rules[0].environment.as_str(), "prod");
    let crate::ledger::HookSecret::Value(sealed) = &hook.secret else { panic!("no value") };
    assert_eq!(Reversed.open(sealed).unwrap().expose(), b"longenough");
    let bad = refused(&text.replace("==", "=~").replace("{ ref: after }", "{ reff: after }"));
    assert!(bad.iter().any(|it| it.contains("is not an expression of CEL")), "{bad:?}");
    assert!(bad.iter().any(|it| it.contains("`reff` cannot be set by a hook")), "{bad:?}");
}

#[test]
fn a_text_that_is_empty_or_too_large_is_refused() {
    for text in ["", "# nothing\n---\n", "---\n...\n"] {
        let error = read(text).unwrap_err();
        assert!(error.to_string().contains("holds no document"), "{error}");
    }
    assert_eq!(code(&read(&"x".repeat(2 << 20)).unwrap_err()), Code::TooLarge);
    assert_eq!(code(&read(&"---\nkind: x\n".repeat(101)).unwrap_err()), Code::TooLarge);
}
