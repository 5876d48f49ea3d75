//! Secrets from files that are encrypted in the repository, and from credentials: where they go, and where they never show.

use std::time::Duration;

use skep::declare::SetCredential;
use skep::domain::*;
use skep::swarm::sim::Behaviour;

use crate::encrypt::Encryptor;
use crate::world::*;

const COMPOSE: &str = r#"
services:
  web:
    image: app:${TAG}
    env_file: [app.env]
    secrets: [db, token, key]
    configs: [settings]
    environment: { PIN: "${PIN}" }
secrets:
  db: { file: db.enc.yaml }
  token: { x-skep: { credential: shop-secrets, key: token } }
  key: { file: id_ed25519 }
configs:
  settings: { file: settings.json }
"#;

/// Values that must show nowhere.
const HIDDEN: [&str; 6] =
    ["hunter2-db", "hunter2-token", "hunter2-key", "hunter2-setting", "hunter2-env", "hunter2-pin"];

fn credential(name: &str, kind: CredentialType, stacks: &[&str], data: &[(&str, &str)]) -> SetCredential {
    SetCredential {
        name: name.to_owned(),
        kind: Some(kind),
        hosts: None,
        stacks: Some(stacks.iter().map(|stack| (*stack).to_owned()).collect()),
        data: data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), SecretBytes::new(value.as_bytes().to_vec())))
            .collect(),
        remove: Vec::new(),
    }
}

async fn set(world: &World, set: SetCredential) {
    world.declare.set_credential(&set, &ask()).await.unwrap();
}

fn manifest() -> String {
    from_git("main", "") + "decryption: { credential: shop-age }\n"
}

fn push(world: &World, with: &Encryptor, password: &str, tag: &str) -> Revision {
    let db = with.yaml(&serde_json::json!({ "password": password, "port": 5432 }));
    let settings = with.json(&serde_json::json!({ "api": "hunter2-setting" }));
    let (env, values) = (with.dotenv(&[("API", "hunter2-env")]), with.dotenv(&[("PIN", "hunter2-pin"), ("TAG", tag)]));
    let key = with.binary(b"hunter2-key\n");
    let files = [
        ("stack.yml", COMPOSE),
        ("db.enc.yaml", &db),
        ("settings.json", &settings),
        ("app.env", &env),
        (".env", &values),
    ];
    world.source.commit(URL, "main", &files);
    world.source.commit(URL, "main", &[("id_ed25519", &key)])
}

async fn ready(with: &Encryptor) -> World {
    let world = World::running().await;
    set(&world, credential("shop-age", CredentialType::Age, &["shop"], &[("identity", &with.identity())])).await;
    set(
        &world,
        credential(
            "shop-secrets",
            CredentialType::Opaque,
            &["default/shop"],
            &[("token", "hunter2-token"), ("other", "x")],
        ),
    )
    .await;
    world
}

/// The secret of the service by its target.
fn secret(world: &World, target: &str) -> (String, String) {
    let container = world.spec("shop_web").task_template.container_spec;
    let used = container.secrets.iter().find(|it| it.file.as_ref().is_some_and(|file| file.name == target)).unwrap();
    let data = world.swarm.secret_data(&used.secret_name).unwrap();
    (used.secret_name.clone(), data.expose_text().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_is_encrypted_and_what_credentials_hold_comes_to_the_services_and_shows_nowhere() {
    let with = Encryptor::new();
    let world = ready(&with).await;
    push(&world, &with, "hunter2-db", "1");
    let v1 = world.apply(&manifest()).await;
    world.ends_as(60, &v1, DeploymentPhase::Converged).await;
    let (name, data) = secret(&world, "db");
    assert_eq!(data, "password: hunter2-db\nport: 5432\n");
    assert_eq!((secret(&world, "token").1, secret(&world, "key").1), ("hunter2-token".into(), "hunter2-key\n".into()));
    assert_eq!(world.image_of("shop_web"), "app:1");
    let env = world.spec("shop_web").task_template.container_spec.env;
    assert_eq!(env, ["API=hunter2-env", "PIN=hunter2-pin"]);
    // Names are made of keyed digests, of configs with something secret too.
    let config = world.spec("shop_web").task_template.container_spec.configs[0].config_name.clone();
    let data = b"{\n\t\"api\": \"hunter2-setting\"\n}\n";
    assert!(!config.ends_with(Digest::of(data).short()), "{config}");
    assert!(!name.ends_with(Digest::of(b"password: hunter2-db\nport: 5432\n").short()));

    let warnings = world.deployment(&v1).warnings;
    assert!(!warnings.iter().any(|warning| warning.contains("in the clear")), "{warnings:?}");
    assert!(warnings.iter().any(|warning| warning.contains("what was encrypted stands in a config")), "{warnings:?}");
    let render = world.inquiries().render(&key("shop"), None, &Default::default()).await.unwrap();
    let plan = world.inquiries().plan(&key("shop"), None).await.unwrap();
    let shown = format!("{render:?} {plan:?} {:?} {:?} {:?}", world.history(), world.events(), world.status());
    for hidden in HIDDEN {
        assert!(!shown.contains(hidden), "{hidden} shows");
    }

    // A changed file is another secret; the way back needs neither repository nor credentials.
    world.swarm.image("app:2", Behaviour::Exit { after: Duration::from_secs(3), code: 1 });
    push(&world, &with, "hunter2-db2", "2");
    world.until(120, "the second secret", |world| secret(world, "db").0 != name).await;
    world.source.set_down(URL, true);
    world.swarm.foreign_remove(&ObjectRef::new(ObjectKind::Secret, &name)).unwrap();
    world.until_phase(600, StackPhase::RolledBack).await;
    assert_eq!(secret(&world, "db"), (name, "password: hunter2-db\nport: 5432\n".to_owned()));
    world.laws();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_opened_is_no_deployment_and_says_how_to_mend_it() {
    let with = Encryptor::new();
    let world = ready(&with).await;
    push(&world, &with, "hunter2-db", "1");
    let told = async |manifest: &str| {
        let id = world.apply(manifest).await;
        let failed = world.ended(60, &id).await;
        let failure = failed.failure.unwrap();
        assert_eq!((failed.phase, failure.class), (DeploymentPhase::Failed, FailureClass::Render));
        assert!(!failure.error.contains("hunter2") && !failure.error.contains("AGE-SECRET"), "{}", failure.error);
        failure.error
    };
    let none = told(&from_git("main", "")).await;
    assert!(none.contains("`.env`") && none.contains("decryption: { credential: NAME }"), "{none}");
    let missing = told(&manifest().replace("shop-age", "no-age")).await;
    assert!(missing.contains("there is no credential `no-age`"), "{missing}");
    let unfit = told(&manifest().replace("shop-age", "shop-secrets")).await;
    assert!(unfit.contains("is of type Opaque, and here it takes Age"), "{unfit}");
    set(&world, credential("their-age", CredentialType::Age, &["theirs"], &[("identity", &with.identity())])).await;
    let theirs = told(&manifest().replace("shop-age", "their-age")).await;
    assert!(theirs.contains("`their-age` is not for the stack `default/shop`: it names theirs"), "{theirs}");
    let other = Encryptor::new().identity();
    set(&world, credential("other-age", CredentialType::Age, &["*"], &[("identity", &other)])).await;
    let wrong = told(&manifest().replace("shop-age", "other-age")).await;
    assert!(wrong.contains("sops rotate -i --add-age"), "{wrong}");
    // The values of a credential go where it says, and nowhere else.
    set(
        &world,
        credential("shop-secrets", CredentialType::Opaque, &["theirs"], &[("token", "hunter2-token"), ("other", "x")]),
    )
    .await;
    let guarded = told(&manifest()).await;
    assert!(guarded.contains("stack.yml:11:") && guarded.contains("`shop-secrets` is not for the stack"), "{guarded}");
    set(
        &world,
        credential("shop-secrets", CredentialType::Opaque, &["shop"], &[("token", "hunter2-token"), ("other", "x")]),
    )
    .await;
    world.source.commit(URL, "main", &[("stack.yml", &COMPOSE.replace(", key: token", ""))]);
    world
        .until(120, "which value", |world| {
            world
                .newest()
                .failure
                .is_some_and(|failure| failure.error.contains("more than one value; say which with `key`"))
        })
        .await;
    assert_eq!(world.swarm.names(ObjectKind::Service), Vec::<String>::new());
}
