//! The login that images are pulled with: a real `docker-registry` with htpasswd, and the real engine (`DOCKER_HOST` as a
//! socket, or the local one), which pulls from it for services that Skep writes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: what fails here fails the test")]

#[path = "support/engine.rs"]
#[expect(dead_code, reason = "what writes with its own connection is for other tests")]
mod engine;
#[path = "support/registry.rs"]
#[expect(unreachable_pub, reason = "shared with other tests")]
mod registry;

#[path = "support/tls_front.rs"]
#[expect(dead_code, unreachable_pub, reason = "of this, the authority alone")]
mod tls_front;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use engine::{PATIENCE, Scratch};
use registry::{Options, PASSWORD, Registry, USER, forget, run};
use skep::domain::Repository;
use skep::domain::{
    CredentialHost, CredentialName, CredentialType, Digest, Effect, Environment, EnvironmentName, Material,
    SecretBytes, ServiceSpec, Task, TaskState,
};
use skep::outbound::{Outbound, Reach};
use skep::ports::{
    ImageError, Keyring, KeyringError, OpenCredential, Registry as _, RegistryError, Swarm, SwarmConnector,
};
use skep::registry::HttpRegistry;
use skep::swarm::docker::{DockerConnector, DockerOptions, EngineAccess};
use tls_front::Authority;

/// One login, or none.
#[derive(Default)]
struct Ring(Mutex<Option<Arc<OpenCredential>>>);

impl Keyring for Ring {
    fn open(&self, _: &CredentialName) -> Result<Option<Arc<OpenCredential>>, KeyringError> {
        Ok(None)
    }

    fn registry(&self, host: &str, port: u16) -> Result<Option<Arc<OpenCredential>>, KeyringError> {
        Ok(self.0.lock().unwrap().clone().filter(|open| open.for_host(host, port).is_ok()))
    }
}

impl Ring {
    fn put(&self, host: &str, values: &[(&str, &str)]) {
        let value = |(key, value): &(&str, &str)| ((*key).to_owned(), SecretBytes::new(value.as_bytes().to_vec()));
        *self.0.lock().unwrap() = Some(Arc::new(OpenCredential {
            name: CredentialName::parse("registry").unwrap(),
            id: "1".into(),
            kind: CredentialType::Registry,
            hosts: vec![CredentialHost::parse(host).unwrap()],
            stacks: Vec::new(),
            print: Digest::of(host.as_bytes()),
            data: values.iter().map(value).collect(),
        }));
    }
}

fn swarm(ring: &Arc<Ring>) -> Arc<dyn Swarm> {
    let access = EngineAccess { keyring: ring.clone(), outbound: Outbound::new(Reach::Any), ..EngineAccess::default() };
    let name = EnvironmentName::default();
    let environment = Environment { name, endpoints: vec![engine::endpoint()], ..Environment::default() };
    DockerConnector::new(DockerOptions::default()).with_access(access).connect(&environment).unwrap()
}

fn service(scratch: &Scratch, what: &str, image: &str) -> ServiceSpec {
    let mut spec = scratch.service(what, "exec sleep 1000");
    spec.task_template.container_spec.image = image.to_owned();
    spec
}

/// The newest task of a service, once it has come as far as it gets.
async fn settled(scratch: &Scratch, id: &str, image: &str) -> Arc<Task> {
    let of = |task: &&Arc<Task>| task.spec.container_spec.image == image;
    let ended = |task: &Arc<Task>| matches!(task.state, TaskState::Running | TaskState::Rejected | TaskState::Failed);
    let tasks = scratch.tasks(id, |tasks| tasks.iter().filter(of).any(ended)).await;
    tasks.iter().filter(of).find(|task| ended(task)).cloned().unwrap()
}

async fn create(swarm: &Arc<dyn Swarm>, spec: ServiceSpec) -> String {
    swarm.apply(&Effect::CreateService(spec), &Material::default()).await.unwrap().id
}

#[tokio::test]
async fn an_image_is_pulled_with_the_login_of_its_registry_at_create_update_and_on_the_way_back() {
    let scratch = Scratch::new("registry").await;
    let registry = Registry::start(&Options { private: true, ..Options::default() });
    let [one, two] =
        [("skep-example:1", "1"), ("skep-example:2", "2")].map(|(image, tag)| registry.push(image, "private", tag));
    let ring = Arc::new(Ring::default());
    let swarm = swarm(&ring);

    let without = create(&swarm, service(&scratch, "without", &one)).await;
    let task = settled(&scratch, &without, &one).await;
    assert_eq!(task.state, TaskState::Rejected, "{task:?}");
    let login: [(&str, &str); 2] = [("username", USER), ("password", PASSWORD)];
    ring.put("elsewhere.example.org", &login);
    let elsewhere = create(&swarm, service(&scratch, "elsewhere", &one)).await;
    assert_eq!(settled(&scratch, &elsewhere, &one).await.state, TaskState::Rejected);
    ring.put(&registry.address, &[login[0], ("password", "wrong")]);
    let wrong = create(&swarm, service(&scratch, "wrong", &one)).await;
    assert_eq!(settled(&scratch, &wrong, &one).await.state, TaskState::Rejected);

    // A host stands for all its ports.
    ring.put("127.0.0.1", &login);
    let right = create(&swarm, service(&scratch, "right", &one)).await;
    let task = settled(&scratch, &right, &one).await;
    assert_eq!(task.state, TaskState::Running, "{task:?}");

    // Another version, and back: each has to be pulled anew, with whatever the login is by then.
    let config =
        format!("{{\"auths\":{{\"{}\":{{\"username\":\"{USER}\",\"password\":\"{PASSWORD}\"}}}}}}", registry.address);
    ring.put(&registry.address, &[("config", &config)]);
    update(&scratch, &swarm, &right, &two).await;
    assert_eq!(settled(&scratch, &right, &two).await.state, TaskState::Running);
    forget(&one);
    update(&scratch, &swarm, &right, &one).await;
    let gone = async {
        loop {
            let tasks = scratch.tasks(&right, |_| true).await;
            let new = tasks.iter().filter(|task| task.spec.container_spec.image == one);
            if new.filter(|task| task.state == TaskState::Running).count() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the way back is pulled, too");
}

async fn update(scratch: &Scratch, swarm: &Arc<dyn Swarm>, id: &str, image: &str) {
    let updated = tokio::time::timeout(PATIENCE, async {
        loop {
            let live = scratch.live(id).await;
            let mut spec = live.spec.clone();
            spec.task_template.container_spec.image = image.to_owned();
            let effect = Effect::UpdateService { id: id.to_owned(), version: live.version, spec };
            match swarm.apply(&effect, &Material::default()).await {
                Ok(_) => return,
                Err(skep::ports::SwarmError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    updated.await.expect("the Swarm leaves the service alone at last");
}

#[tokio::test]
async fn what_a_tag_stands_for_is_asked_of_the_registry_with_its_login() {
    let _scratch = Scratch::new("resolve").await;
    let registry = Registry::start(&Options { private: true, ..Options::default() });
    let one = registry.push("skep-example:1", "private", "1");
    let ring = Arc::new(Ring::default());
    let swarm = swarm(&ring);
    let denied = swarm.resolve(&one).await.unwrap_err();
    assert!(matches!(denied, ImageError::Denied(_)), "{denied}");
    ring.put(&registry.address, &[("username", USER), ("password", PASSWORD)]);
    let found = swarm.resolve(&one).await.unwrap();
    assert!(found.digest.starts_with("sha256:") && found.digest.len() == 71, "{found:?}");
    let architecture = run("docker", &["version", "--format", "{{.Server.Arch}}"]);
    assert_eq!(
        (found.platforms[0].os.as_str(), found.platforms[0].architecture.as_str()),
        ("linux", architecture.trim())
    );
    // A tag that moves stands for something else.
    registry.push("skep-example:2", "private", "1");
    assert_ne!(swarm.resolve(&one).await.unwrap().digest, found.digest);
    let missing = swarm.resolve(&format!("{}/private:nine", registry.address)).await.unwrap_err();
    assert!(matches!(missing, ImageError::Missing(_)), "{missing}");
    let gone = swarm.resolve("127.0.0.1:9/private:1").await.unwrap_err();
    assert!(matches!(gone, ImageError::Unreachable(_)), "{gone}");
}

#[tokio::test]
async fn skep_itself_lists_tags_and_what_they_point_at_with_the_login_of_the_registry() {
    let _scratch = Scratch::new("tags").await;
    let registry = Registry::start(&Options { private: true, ..Options::default() });
    let names: Vec<String> = ["1.0.0", "1.0.1", "stable"].iter().map(|tag| (*tag).to_owned()).collect();
    names.iter().for_each(|tag| drop(registry.push("skep-example:1", "team/private", tag)));
    let repository = Repository::of_image(&format!("{}/team/private:1", registry.address));
    let ring = Arc::new(Ring::default());
    let asks = HttpRegistry::new(Outbound::new(Reach::Any), ring.clone()).unwrap();
    let denied = asks.tags(&repository, None).await.unwrap_err();
    assert!(matches!(denied, RegistryError::Denied { .. }), "{denied}");
    ring.put("elsewhere.example.org", &[("username", USER), ("password", PASSWORD)]);
    let denied = asks.tags(&repository, None).await.unwrap_err();
    assert!(matches!(denied, RegistryError::Denied { .. }), "{denied}");
    ring.put("127.0.0.1", &[("username", USER), ("password", PASSWORD)]);
    let found = asks.tags(&repository, None).await.unwrap();
    assert_eq!(found.names.iter().cloned().collect::<Vec<_>>(), names);
    assert_eq!(asks.tags(&repository, Some(&found)).await.unwrap().names, found.names);

    // What a tag points at is what the engine would pull.
    let stable = asks.digest(&repository, "stable", None).await.unwrap().unwrap();
    let by_engine = swarm(&ring).resolve(&format!("{}/team/private:stable", registry.address)).await.unwrap();
    assert_eq!(stable, by_engine.digest);
    assert_eq!(asks.digest(&repository, "stable", Some(&stable)).await.unwrap(), Some(stable.clone()));
    registry.push("skep-example:2", "team/private", "stable");
    let moved = asks.digest(&repository, "stable", Some(&stable)).await.unwrap();
    assert!(moved.is_some_and(|moved| moved != stable));
    assert_eq!(asks.digest(&repository, "none", None).await.unwrap(), None);
    let gone = asks.tags(&Repository::of_image(&format!("{}/team/none", registry.address)), None).await.unwrap_err();
    assert!(matches!(gone, RegistryError::NotFound { .. }), "{gone}");
    let away = asks.tags(&Repository::of_image("127.0.0.1:9/web"), None).await.unwrap_err();
    assert!(matches!(away, RegistryError::Unreachable { .. }), "{away}");
}

#[tokio::test]
async fn a_registry_behind_tls_is_asked_with_the_authority_of_its_credential_and_never_in_the_clear() {
    let scratch = Scratch::new("registry-tls").await;
    let authority = Authority::fresh();
    let (certificate, key) = authority.sign();
    let registry = Registry::start(&Options { private: true, tls: Some((&certificate, &key)), ..Options::default() });
    let one = registry.push("skep-example:1", "private", "1");
    let repository = Repository::of_image(&one);
    let ring = Arc::new(Ring::default());
    let login = [("username", USER), ("password", PASSWORD)];
    let asks = || HttpRegistry::new(Outbound::new(Reach::Any), ring.clone()).unwrap();

    // Nobody vouches for its certificate, or another authority does.
    let (other, own) = (Authority::fresh().pem(), authority.pem());
    for ca in [None, Some(other.as_str())] {
        let values: Vec<(&str, &str)> = login.into_iter().chain(ca.map(|ca| ("ca", ca))).collect();
        ring.put(&registry.address, &values);
        let refused = asks().tags(&repository, None).await.unwrap_err();
        let RegistryError::Unreachable { reason, .. } = &refused else { panic!("{refused}") };
        assert!(reason.contains("certificate"), "{reason}");
    }
    let known = [login[0], login[1], ("ca", own.as_str())];
    ring.put(&registry.address, &known);
    assert!(asks().tags(&repository, None).await.unwrap().names.contains("1"));

    // Engines pull with the same login; on loopback they ask for no authority.
    let swarm = swarm(&ring);
    let digest = asks().digest(&repository, "1", None).await.unwrap();
    assert_eq!(digest, Some(swarm.resolve(&one).await.unwrap().digest));
    let service = create(&swarm, service(&scratch, "tls", &one)).await;
    assert_eq!(settled(&scratch, &service, &one).await.state, TaskState::Running);
}
