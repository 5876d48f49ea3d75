//! Credentials: what comes in, what is kept, what is refused, and that no value comes out.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{CredentialName, CredentialType, EventType};

const TOKEN: &str = "\
kind: Credential
name: shop-git
type: GitToken
hosts: [git.example.org]
data: { token: { fromEnv: GIT_TOKEN }, username: bot }
";

fn options(value: &str) -> ApplyOptions {
    let reference = Reference { kind: ReferenceKind::FromEnv, name: "GIT_TOKEN".into() };
    let references = [(reference, SecretBytes::new(value.as_bytes().to_vec()))].into();
    ApplyOptions { references, ..ApplyOptions::default() }
}

fn set(name: &str, data: &[(&str, &str)]) -> SetCredential {
    let data: BTreeMap<String, SecretBytes> =
        data.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::new(value.as_bytes().to_vec()))).collect();
    SetCredential { name: name.into(), kind: None, hosts: None, stacks: None, data, remove: Vec::new() }
}

impl World {
    fn credential(&self, name: &str) -> crate::domain::Credential {
        self.ledger.credential(&CredentialName::parse(name).unwrap()).unwrap().unwrap().value
    }

    fn value(&self, name: &str, key: &str) -> String {
        let opened = Reversed.open(&self.credential(name).data[key]).unwrap();
        opened.expose_text().unwrap().to_owned()
    }

    async fn with_token() -> Self {
        let world = Self::new().await;
        world.declare.apply(TOKEN, &options("marked-secret-1\n"), &ask()).await.unwrap();
        world
    }

    async fn refused(&self, text: &str) -> Vec<String> {
        let outcome = self.declare.apply(text, &ApplyOptions::default(), &ask()).await;
        outcome.unwrap_err().refusals().iter().map(ToString::to_string).collect()
    }
}

#[tokio::test]
async fn a_declared_credential_is_sealed_and_shown_nowhere() {
    let world = World::with_token().await;
    assert_eq!(world.value("shop-git", "token"), "marked-secret-1");
    let record = serde_json::to_string(&world.credential("shop-git")).unwrap();
    for text in [record, world.everything()] {
        assert!(!text.contains("marked-secret-1") && !text.contains("\"bot\""), "{text}");
    }
    let events = world.ledger.events(None, true, 1).unwrap();
    assert_eq!(events[0].1.kind, EventType::CredentialDeclared);
    assert_eq!(events[0].1.message, "credential `shop-git` of type GitToken was declared");
}

#[tokio::test]
async fn an_old_manifest_does_not_undo_what_was_set_since() {
    let world = World::with_token().await;
    let changed = world.declare.set_credential(&set("shop-git", &[("token", "rotated")]), &ask()).await.unwrap();
    assert_eq!(changed.changes, ["data.token"]);
    let again = world.declare.apply(TOKEN, &options("marked-secret-1\n"), &ask()).await.unwrap();
    assert_eq!(again.documents[0].changes, Vec::<String>::new());
    assert_eq!(world.value("shop-git", "token"), "rotated");
    // A manifest that itself changes the value does.
    let newer = world.declare.apply(TOKEN, &options("marked-secret-2"), &ask()).await.unwrap();
    assert_eq!(newer.documents[0].changes, ["data.token"]);
    assert_eq!(world.value("shop-git", "token"), "marked-secret-2");
    let same = world.declare.set_credential(&set("shop-git", &[("token", "marked-secret-2")]), &ask()).await.unwrap();
    assert!(same.changes.is_empty(), "the same value again changes nothing");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place_and_without_the_value() {
    let world = World::new().await;
    let refused = world.refused(TOKEN).await;
    assert!(
        refused[0].starts_with("5:27: the value of `fromEnv: GIT_TOKEN` did not come with the manifest"),
        "{refused:?}"
    );
    let text = "kind: Credential\nname: a\ntype: GitToken\ndata: { tokne: marked-secret-3 }\n";
    let refused = world.refused(text).await;
    assert!(refused[0].contains("4:9: a credential of type GitToken has no value `tokne`"), "{refused:?}");
    let text = "kind: Credential\nname: a\ntype: SshKey\nhosts: ['https://h']\ndata: { privateKey: marked-secret-3 }\n";
    assert!(world.refused(text).await[0].contains("`https://h` is not a host"));
    let text = "kind: Credential\nname: a\ntype: SshKey\ndata: { privateKey: marked-secret-3 }\n";
    let refused = world.refused(text).await;
    assert!(refused[0].contains("names the hosts it may go to"), "{refused:?}");
    assert!(refused[1].contains("`privateKey` is not a private key"), "{refused:?}");
    assert!(!refused.concat().contains("marked-secret"));
    assert!(world.ledger.credentials().unwrap().is_empty(), "nothing was written");
    let stack = "kind: Stack\nname: a\nsource: { git: http://h/x.git, ref: main, credential: c }\n";
    assert!(world.refused(stack).await[0].contains("a credential is not used over http://"));
}

#[tokio::test]
async fn set_makes_one_and_trust_adds_the_key_of_a_host() {
    let world = World::new().await;
    let unknown = world.declare.set_credential(&set("new", &[("token", "x")]), &ask()).await.unwrap_err();
    assert!(unknown.to_string().contains("say its type"), "{unknown}");
    let mut new = set("new", &[("token", "x")]);
    (new.kind, new.hosts) = (Some(CredentialType::GitToken), Some(vec!["h:8443".into()]));
    assert_eq!(world.declare.set_credential(&new, &ask()).await.unwrap().credential.hosts[0].as_str(), "h:8443");
    let line = "h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKSUTyz1HwHReFVvD5obVsALAgJRNarH4TRpNePnAS";
    let other = world.declare.trust_host("new", line, &ask()).await.unwrap_err();
    assert!(other.to_string().contains("is of type GitToken, not SshKey"), "{other}");
    assert!(world.declare.trust_host("new", "nonsense", &ask()).await.is_err());
    assert!(world.declare.trust_host("nobody", line, &ask()).await.is_err());
}

#[tokio::test]
async fn a_credential_in_use_stays() {
    let world = World::with_token().await;
    let stack =
        "kind: Stack\nname: shop\nsource: { git: https://git.example.org/x.git, ref: main, credential: shop-git }\n";
    let hook =
        "kind: Hook\nname: push\nprovider: Generic\nsecret: { credential: shop-git }\nrules: [{ stacks: [shop] }]\n";
    let environment =
        "kind: Environment\nname: prod\nendpoints: ['tcp://h:1', 'ssh://a@h:22']\ntls: { credential: shop-git }\n";
    for text in [stack, hook, environment] {
        world.apply(text).await.unwrap();
    }
    let users = world.declare.credential_users().unwrap().into_values().next().unwrap();
    let users: Vec<String> = users.iter().map(ToString::to_string).collect();
    assert_eq!(users, ["stack `default/shop`", "environment `prod`", "hook `push`"]);
    let refused = world.declare.delete_credential("shop-git", &ask()).await.unwrap_err();
    assert_eq!(refused.refusals()[0].code, Code::Conflict);
    assert!(refused.to_string().contains("in use by stack `default/shop`, environment `prod`"), "{refused}");
    // A hook whose secret is no credential for that takes no delivery.
    assert!(world.declare.hook("push").unwrap().0.is_none());

    let free = World::with_token().await;
    free.declare.delete_credential("shop-git", &ask()).await.unwrap();
    assert!(free.ledger.credentials().unwrap().is_empty());
    assert!(free.declare.delete_credential("shop-git", &ask()).await.is_err());
}

#[tokio::test]
async fn a_hook_takes_its_secret_from_a_credential() {
    let world = World::new().await;
    let mut secret = set("hook-secret", &[("secret", "longenough")]);
    secret.kind = Some(CredentialType::Opaque);
    world.declare.set_credential(&secret, &ask()).await.unwrap();
    let hook =
        "kind: Hook\nname: push\nprovider: Generic\nsecret: { credential: hook-secret }\nrules: [{ stacks: [a] }]\n";
    world.apply(hook).await.unwrap();
    let (found, opened) = world.declare.hook("push").unwrap();
    assert_eq!((found.is_some(), opened.expose()), (true, &b"longenough"[..]));
}

#[tokio::test]
async fn an_environment_with_stacks_stays() {
    let world = World::with_shop().await;
    let refused = world.declare.delete_environment("default", &ask()).await.unwrap_err();
    assert!(refused.to_string().contains("1 stacks are declared in `default`: shop"), "{refused}");
    world
        .apply("kind: Environment\nname: prod\nendpoints: ['ssh://root@h:2222']\nssh: { credential: k }\n")
        .await
        .unwrap();
    world.declare.delete_environment("prod", &ask()).await.unwrap();
    assert_eq!(world.ledger.environments().unwrap().len(), 1);
}

#[tokio::test]
async fn a_credential_goes_to_new_hosts_only_by_the_word_of_who_knows_it() {
    let world = World::with_token().await;
    let farther = |hosts: &[&str], data: &[(&str, &str)]| SetCredential {
        hosts: Some(hosts.iter().map(|host| (*host).to_owned()).collect()),
        stacks: None,
        ..set("shop-git", data)
    };
    let evil = ["git.example.org", "evil.example"];
    for data in [&[][..], &[("username", "bot")]] {
        let refused = world.declare.set_credential(&farther(&evil, data), &ask()).await.unwrap_err();
        assert!(refused.to_string().contains("its `token` was not given along"), "{refused}");
    }
    let text = TOKEN.replace("[git.example.org]", "[evil.example]").replace("{ token: { fromEnv: GIT_TOKEN }, ", "{ ");
    let refused = world.refused(&text).await;
    assert!(!refused.is_empty(), "a manifest without the token takes it nowhere either");
    assert_eq!(world.credential("shop-git").hosts.len(), 1);
    // Fewer hosts need no proof; more need the value itself.
    world.declare.set_credential(&farther(&evil, &[("token", "new")]), &ask()).await.unwrap();
    world.declare.set_credential(&farther(&evil[..1], &[]), &ask()).await.unwrap();
    let manifest = TOKEN.replace("[git.example.org]", "[git.example.org, two.example.org]");
    world.declare.apply(&manifest, &options("newest"), &ask()).await.unwrap();
    assert_eq!(world.credential("shop-git").hosts.len(), 2);
}

#[tokio::test]
async fn a_credential_goes_into_new_stacks_only_by_the_word_of_who_knows_it() {
    let world = World::new().await;
    let text =
        |stacks: &str, data: &str| format!("kind: Credential\nname: db\ntype: Opaque\n{stacks}data: {{ {data} }}\n");
    world.apply(&text("stacks: [shop, 'prod/*']\n", "password: marked-secret-7")).await.unwrap();
    assert_eq!(world.credential("db").stacks, ["shop", "prod/*"]);
    let farther = |stacks: &[&str], data: &[(&str, &str)]| SetCredential {
        stacks: Some(stacks.iter().map(|stack| (*stack).to_owned()).collect()),
        ..set("db", data)
    };
    let refused = world.declare.set_credential(&farther(&["shop", "evil"], &[]), &ask()).await.unwrap_err();
    assert!(refused.to_string().contains("its `password` was not given along"), "{refused}");
    assert!(!world.refused(&text("stacks: ['*']\n", "")).await.is_empty(), "a manifest without the value neither");
    // Fewer need no proof; more need the value itself.
    world.declare.set_credential(&farther(&["shop"], &[]), &ask()).await.unwrap();
    world.declare.set_credential(&farther(&["shop", "new"], &[("password", "other")]), &ask()).await.unwrap();
    assert_eq!(world.credential("db").stacks, ["shop", "new"]);
    let bad = world.refused(&text("stacks: ['a b', /x]\n", "password: x")).await;
    assert_eq!(bad.len(), 2, "{bad:?}");
    let token = TOKEN.replace("hosts:", "stacks: [shop]\nhosts:");
    let refused = world.declare.apply(&token, &options("x"), &ask()).await.unwrap_err();
    assert!(refused.to_string().contains("a credential of type GitToken goes into no stack"), "{refused}");
}

#[tokio::test]
async fn what_opens_a_stacks_files_is_in_use() {
    let world = World::new().await;
    let key = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    let text = format!(
        "kind: Credential\nname: shop-age\ntype: Age\nstacks: [shop]\ndata: {{ identity: {key} }}\n---\n\
         kind: Stack\nname: shop\ninline: x\ndecryption: {{ credential: shop-age }}\n"
    );
    world.apply(&text).await.unwrap();
    let refused = world.declare.delete_credential("shop-age", &ask()).await.unwrap_err();
    assert!(refused.to_string().contains("in use by stack `default/shop`"), "{refused}");
    // An old file applied again does not undo it; one that says otherwise does.
    assert_eq!(world.apply(&text).await.unwrap().documents[1].changes, Vec::<String>::new());
    world.apply("kind: Stack\nname: shop\ninline: x\n").await.unwrap();
    world.declare.delete_credential("shop-age", &ask()).await.unwrap();
}
