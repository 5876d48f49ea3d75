//! Git with credentials, against real parts: `git http-backend` behind TLS, and sshd. What matters as much as that a
//! credential opens its repository is that it goes nowhere else.
#![expect(clippy::unwrap_used, reason = "tests: what fails here fails the test")]

#[path = "support/git_http.rs"]
pub mod git_http;
#[path = "support/git_ssh.rs"]
pub mod git_ssh;
#[path = "support/tls_front.rs"]
pub mod tls_front;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use git_http::{GitServer, Repo};
use git_ssh::SshServer;
use jiff::{SignedDuration, Timestamp};
use skep::domain::{
    CredentialHost, CredentialName, CredentialType, Digest, GitSource, GitUrl, Revision, SecretBytes, Wanted,
};
use skep::outbound::{Names, Outbound, Reach};
use skep::ports::{BoxFuture, Keyring, KeyringError, OpenCredential, Source, SourceError};
use skep::source::git::{Git, GitOptions};
use tempfile::TempDir;
use tls_front::{Authority, Manner, TlsFront};

/// Credentials in memory.
#[derive(Default)]
struct Ring(Mutex<BTreeMap<CredentialName, Arc<OpenCredential>>>);

impl Keyring for Ring {
    fn open(&self, name: &CredentialName) -> Result<Option<Arc<OpenCredential>>, KeyringError> {
        Ok(self.0.lock().unwrap().get(name).cloned())
    }
}

impl Ring {
    fn put(&self, name: &str, kind: CredentialType, host: &str, data: &[(&str, &str)]) {
        let name = CredentialName::parse(name).unwrap();
        let open = OpenCredential {
            id: format!("id of {name}"),
            print: Digest::of(format!("{kind} {host} {data:?}").as_bytes()),
            kind,
            hosts: vec![CredentialHost::parse(host).unwrap()],
            stacks: Vec::new(),
            data: data
                .iter()
                .map(|(key, value)| ((*key).to_owned(), SecretBytes::new(value.as_bytes().to_vec())))
                .collect(),
            name: name.clone(),
        };
        self.0.lock().unwrap().insert(name, Arc::new(open));
    }
}

fn header(user: &str, password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

fn options(root: &Path) -> GitOptions {
    GitOptions {
        root: root.join("data"),
        outbound: Outbound::new(Reach::Any),
        reuse_listing: Duration::ZERO,
        connect_timeout: Duration::from_secs(5),
        ..GitOptions::default()
    }
}

fn source(url: &str, credential: Option<&str>) -> GitSource {
    GitSource {
        url: GitUrl::parse(url).unwrap(),
        wanted: Wanted("main".to_owned()),
        path: String::new(),
        credential: credential.map(|name| CredentialName::parse(name).unwrap()),
        poll: SignedDuration::from_mins(1),
    }
}

/// A private repository `shop` behind TLS, and a git that has a keyring.
struct Bench {
    authority: Authority,
    front: TlsFront,
    _server: GitServer,
    repo: Repo,
    ring: Arc<Ring>,
    git: Git,
    folder: TempDir,
}

impl Bench {
    fn new(wants: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let repo = Repo::create(folder.path(), "shop");
        let server = GitServer::start(folder.path());
        let authority = Authority::fresh();
        let front = TlsFront::start(&authority, &server.base());
        front.behave(Manner { wants: Some(wants.to_owned()), ..Manner::default() });
        let ring = Arc::new(Ring::default());
        let git = Git::with_keyring(options(folder.path()), ring.clone());
        Self { authority, front, _server: server, repo, ring, git, folder }
    }

    fn url(&self) -> String {
        format!("{}/shop.git", self.front.base())
    }

    fn put_token(&self, name: &str, host: &str, token: &str) {
        let ca = self.authority.pem();
        self.ring.put(name, CredentialType::GitToken, host, &[("token", token), ("ca", &ca)]);
    }

    async fn resolve(&self, credential: Option<&str>) -> Result<String, SourceError> {
        self.git.resolve(&source(&self.url(), credential)).await.map(|revision| revision.0)
    }

    async fn read(&self, commit: &str, credential: Option<&str>) -> Result<String, SourceError> {
        read(&self.git, &source(&self.url(), credential), commit).await
    }
}

async fn read(git: &Git, source: &GitSource, commit: &str) -> Result<String, SourceError> {
    let paths = BTreeSet::from(["stack.yml".to_owned()]);
    let files = git.read(source, &Revision(commit.to_owned()), &paths).await?;
    Ok(String::from_utf8(files["stack.yml"].as_deref().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn a_token_opens_its_repository_over_https() {
    let bench = Bench::new(&header("x-access-token", "marked-token"));
    let commit = bench.repo.commit("main", &[("stack.yml", "one")]);
    bench.put_token("good", "127.0.0.1", "marked-token");
    bench.put_token("bad", "127.0.0.1", "another");
    assert_eq!(bench.resolve(Some("good")).await.unwrap(), commit);
    assert_eq!(bench.read(&commit, Some("good")).await.unwrap(), "one");
    let refused = bench.resolve(Some("bad")).await.unwrap_err();
    assert!(matches!(refused, SourceError::Unauthorized { .. }), "{refused}");
    // A host whose certificate nobody we know has signed is not spoken to.
    bench.ring.put("plain", CredentialType::GitToken, "127.0.0.1", &[("token", "marked-token")]);
    bench.front.take_seen();
    let untrusted = bench.resolve(Some("plain")).await.unwrap_err();
    assert!(matches!(untrusted, SourceError::Unreachable { .. }), "{untrusted}");
    assert!(bench.front.take_seen().is_empty());
    // Nothing of it is on disk.
    let found =
        Command::new("grep").args(["-raq", "marked-token"]).arg(bench.folder.path().join("data")).status().unwrap();
    assert_eq!(found.code(), Some(1));
}

#[tokio::test]
async fn a_name_and_a_password_open_theirs() {
    let bench = Bench::new(&header("ada", "lovelace"));
    let commit = bench.repo.commit("main", &[("stack.yml", "one")]);
    let ca = bench.authority.pem();
    let place = bench.front.place();
    bench.ring.put(
        "ada",
        CredentialType::GitBasic,
        &place,
        &[("username", "ada"), ("password", "lovelace"), ("ca", &ca)],
    );
    assert_eq!(bench.resolve(Some("ada")).await.unwrap(), commit);
    let refs = bench.git.refs(&source(&bench.url(), Some("ada"))).await.unwrap();
    assert_eq!(refs.get("refs/heads/main"), Some(&commit));
}

#[tokio::test]
async fn it_goes_only_to_the_hosts_it_names_and_never_in_the_clear() {
    let bench = Bench::new(&header("x-access-token", "t"));
    bench.repo.commit("main", &[("stack.yml", "one")]);
    bench.put_token("elsewhere", "git.example.org", "t");
    bench.put_token("port", "127.0.0.1:1", "t");
    bench.put_token("here", "127.0.0.1", "t");
    for (name, said) in [
        ("elsewhere", "is not for 127.0.0.1:"),
        ("port", "it names 127.0.0.1:1"),
        ("nobody", "make it: `skep credential set nobody --type GitToken|GitBasic|GitHubApp …`"),
    ] {
        let refused = bench.resolve(Some(name)).await.unwrap_err();
        assert!(matches!(refused, SourceError::Credential { .. }), "{refused}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    let clear = bench._server.url("shop");
    let refused = bench.git.resolve(&source(&clear, Some("here"))).await.unwrap_err();
    assert!(refused.to_string().contains("never used over http://"), "{refused}");
    let ssh = bench.git.resolve(&source("ssh://git@127.0.0.1:1/x", Some("here"))).await.unwrap_err();
    assert!(ssh.to_string().contains("is of type GitToken, and here it takes SshKey"), "{ssh}");
    assert_eq!((bench.front.arrived(), bench._server.take_requests().len()), (0, 0), "nobody was asked anything");
}

#[tokio::test]
async fn a_redirect_carries_it_nowhere() {
    let bench = Bench::new(&header("x-access-token", "t"));
    bench.repo.commit("main", &[("stack.yml", "one")]);
    // The credential is even for the other host, by name; the other port is still another place.
    bench.put_token("token", "127.0.0.1", "t");
    let other = TlsFront::start(&bench.authority, &bench._server.base());
    for to in [other.base(), other.base().replace("127.0.0.1", "localhost"), bench._server.base()] {
        bench.front.behave(Manner { redirect: Some(to.clone()), ..Manner::default() });
        let refused = bench.resolve(Some("token")).await.unwrap_err();
        assert!(matches!(refused, SourceError::Forbidden { .. }), "{to}: {refused}");
        assert!(refused.to_string().contains("it redirects to"), "{refused}");
    }
    assert_eq!((other.arrived(), bench._server.take_requests().len()), (0, 0));
}

#[tokio::test]
async fn what_one_credential_fetched_is_not_read_without_it() {
    let bench = Bench::new(&header("x-access-token", "t"));
    let commit = bench.repo.commit("main", &[("stack.yml", "private")]);
    bench.put_token("token", "127.0.0.1", "t");
    bench.put_token("stranger", "127.0.0.1", "wrong");
    assert_eq!(bench.read(&commit, Some("token")).await.unwrap(), "private");
    // Commit and all are on this disk now.
    let stranger = bench.read(&commit, Some("stranger")).await.unwrap_err();
    assert!(matches!(stranger, SourceError::Unauthorized { .. }), "{stranger}");
    assert!(bench.read(&commit, None).await.is_err());
    // The credential goes: so does what it opened, though the copy is here.
    bench.ring.0.lock().unwrap().clear();
    let gone = bench.read(&commit, Some("token")).await.unwrap_err();
    assert!(matches!(gone, SourceError::Credential { .. }), "{gone}");
    // It may no longer go there.
    bench.put_token("token", "git.example.org", "t");
    assert!(matches!(bench.read(&commit, Some("token")).await, Err(SourceError::Credential { .. })));
}

#[tokio::test]
async fn a_github_app_signs_in_with_tokens_of_its_installation() {
    let bench = Bench::new(&header("x-access-token", "ghs_1"));
    let commit = bench.repo.commit("main", &[("stack.yml", "one")]);
    let key = Command::new("openssl").args(["genrsa", "2048"]).stderr(Stdio::null()).output().unwrap().stdout;
    let (key, ca) = (String::from_utf8(key).unwrap(), bench.authority.pem());
    let api = format!("{}/api/v3", bench.front.base());
    let data = [
        ("appId", "12"),
        ("installationId", "34"),
        ("privateKey", key.as_str()),
        ("apiUrl", api.as_str()),
        ("ca", ca.as_str()),
    ];
    bench.ring.put("app", CredentialType::GitHubApp, "127.0.0.1", &data);
    let token = |name: &str, seconds: i64| {
        let ends = Timestamp::now() + SignedDuration::from_secs(seconds);
        Manner {
            wants: Some(header("x-access-token", name)),
            token: Some(serde_json::json!({ "token": name, "expires_at": ends.to_string() }).to_string()),
            ..Manner::default()
        }
    };
    let asked = |seen: &[tls_front::Seen]| seen.iter().filter(|(target, _)| target.ends_with("/access_tokens")).count();
    bench.front.behave(token("ghs_1", 3600));
    assert_eq!(bench.resolve(Some("app")).await.unwrap(), commit);
    assert_eq!(bench.read(&commit, Some("app")).await.unwrap(), "one");
    let seen = bench.front.take_seen();
    assert_eq!(asked(&seen), 1, "the token is used again");
    assert_eq!(seen[0].0, "/api/v3/app/installations/34/access_tokens");
    assert!(seen[0].1.as_ref().unwrap().starts_with("Bearer eyJ"));
    // A token that is refused is not used again; one that ends soon neither.
    bench.front.behave(token("ghs_2", 30));
    assert!(matches!(bench.resolve(Some("app")).await, Err(SourceError::Unauthorized { .. })));
    assert_eq!(bench.resolve(Some("app")).await.unwrap(), commit);
    assert_eq!(bench.resolve(Some("app")).await.unwrap(), commit);
    assert_eq!(asked(&bench.front.take_seen()), 2);
    bench.front.behave(Manner { wants: Some("no".into()), ..Manner::default() });
    let refused = bench.resolve(Some("app")).await.unwrap_err();
    assert!(refused.to_string().contains("gave no token for the installation, but 401"), "{refused}");
}

#[tokio::test]
async fn a_key_with_a_passphrase_opens_a_repository_over_ssh_once_the_host_is_trusted() {
    let folder = TempDir::new().unwrap();
    let server = SshServer::start(folder.path());
    let repo = Repo::create(folder.path(), "shop");
    let commit = repo.commit("main", &[("stack.yml", "one")]);
    let lock = Command::new("ssh-keygen")
        .args(["-q", "-p", "-P", "", "-N", "marked passphrase", "-f"])
        .arg(folder.path().join("client"))
        .stdout(Stdio::null())
        .status();
    assert!(lock.unwrap().success());
    let key = std::fs::read_to_string(folder.path().join("client")).unwrap();
    // The program notes its arguments and environment.
    let (program, notes) = (folder.path().join("noting-ssh"), folder.path().join("notes"));
    std::fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> {0}\nenv >> {0}\nexec ssh \"$@\"\n", notes.display()))
        .unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ring = Arc::new(Ring::default());
    let git = Git::with_keyring(GitOptions { ssh_program: program, ..options(folder.path()) }, ring.clone());
    let at = source(&server.url(&repo.path), Some("key"));
    let put = |hosts: &str, passphrase: &str| {
        let mut data = vec![("privateKey", key.as_str()), ("passphrase", passphrase)];
        if !hosts.is_empty() {
            data.push(("knownHosts", hosts));
        }
        ring.put("key", CredentialType::SshKey, "127.0.0.1", &data);
    };

    put("", "marked passphrase");
    let unknown = git.resolve(&at).await.unwrap_err();
    assert!(matches!(unknown, SourceError::HostKey { .. }), "{unknown}");
    let shown = Command::new("ssh-keygen").args(["-lf"]).arg(folder.path().join("host.pub")).output().unwrap().stdout;
    let fingerprint = String::from_utf8(shown).unwrap().split(' ').nth(1).unwrap().to_owned();
    let text = unknown.to_string();
    assert!(text.contains(&fingerprint) && text.contains("skep credential trust key '[127.0.0.1]:"), "{text}");

    // A person accepts the very line.
    let line = text.rsplit('\'').nth(1).unwrap();
    put(&format!("{line}\n"), "marked passphrase");
    assert_eq!(git.resolve(&at).await.unwrap().0, commit);
    assert_eq!(read(&git, &at, &commit).await.unwrap(), "one");

    // Another key than the accepted one.
    let stranger = std::fs::read_to_string(folder.path().join("stranger.pub")).unwrap();
    let port = at.url.port();
    put(&format!("[127.0.0.1]:{port} {stranger}"), "marked passphrase");
    let changed = git.resolve(&at).await.unwrap_err().to_string();
    assert!(changed.contains("another than the known one") && changed.contains(&fingerprint), "{changed}");

    put(line, "wrong");
    let wrong = git.resolve(&at).await.unwrap_err();
    assert!(wrong.to_string().contains("`passphrase` does not open `privateKey`"), "{wrong}");

    let noted = std::fs::read_to_string(&notes).unwrap();
    assert!(noted.contains("IdentityFile=") && !noted.contains("marked passphrase") && !noted.contains("PRIVATE KEY"));
    let files = noted.split_whitespace().filter_map(|word| word.strip_prefix("IdentityFile="));
    let files: BTreeSet<&Path> = files.map(Path::new).collect();
    assert!(files.len() >= 2 && files.iter().all(|file| !file.parent().unwrap().exists()), "{files:?}");
}

/// Gives one answer after the other.
struct Fickle(Mutex<Vec<&'static str>>);

impl Names for Fickle {
    fn look_up<'a>(&'a self, _: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(self.0.lock().unwrap().pop().map(|ip| ip.parse().unwrap()).into_iter().collect()) })
    }
}

#[tokio::test]
async fn a_name_that_comes_to_stand_for_a_private_address_is_not_connected_to() {
    let bench = Bench::new(&header("x-access-token", "t"));
    bench.put_token("token", "git.example", "t");
    let port = GitUrl::parse(&bench.url()).unwrap().port();
    for scheme in ["https", "ssh"] {
        // The documentation's own network: nobody is there.
        let names = Arc::new(Fickle(Mutex::new(vec!["127.0.0.1", "169.254.169.254", "10.0.0.1"])));
        let outbound = Outbound::new(Reach::Public).with_names(names.clone());
        let git = Git::new(GitOptions { outbound, ..options(bench.folder.path()) });
        for _ in 0..3 {
            let refused =
                git.resolve(&source(&format!("{scheme}://git.example:{port}/shop.git"), None)).await.unwrap_err();
            assert!(matches!(refused, SourceError::Forbidden { .. }), "{refused}");
        }
        assert!(names.0.lock().unwrap().is_empty(), "each conversation looks the name up anew, and checks what it got");
    }
    assert_eq!(bench.front.arrived(), 0);
}
