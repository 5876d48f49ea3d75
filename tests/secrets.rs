//! Marked secrets in a running server: they may come out nowhere. Every answer, log line, event, metric and byte of the data
//! folder is searched for them. What they are for works all the same, also after the key has been changed.
#![expect(clippy::unwrap_used, reason = "tests: what fails here fails the test")]

#[path = "support/git_http.rs"]
pub mod git_http;
#[path = "support/tls_front.rs"]
pub mod tls_front;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use base64::Engine;
use git_http::{GitServer, Repo};
use tempfile::TempDir;
use tls_front::{Authority, Manner, TlsFront};

const SKEP: &str = env!("CARGO_BIN_EXE_skep");

/// The secrets, each with a mark of its own. Long, so that none is there by chance.
const SECRETS: [&str; 9] = [
    "marked-0-token-of-git-9f31c2",
    "marked-1-password-of-a-registry-77ab",
    "marked-2-secret-of-a-hook-0c4e81",
    "marked-3-secret-of-a-variable-b61d",
    "marked-4-second-token-of-git-5e02",
    "marked-5-value-that-is-refused-d11a",
    "marked-6-passphrase-that-is-wrong-aa",
    "marked-7-address-of-a-channel-3f80",
    "marked-8-secret-of-a-webhook-c55d",
];

/// A server with all it logs. It ends when dropped.
struct Server {
    child: Child,
    address: String,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    fn start_with(data: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(SKEP)
            .envs(variables.iter().copied())
            .args(["serve", "--listen", "127.0.0.1:0", "--allow-private-addresses", "--log", "trace", "--docker"])
            .arg(format!("unix://{}", data.with_extension("nothing").display()))
            .arg("--data")
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let mut line = String::new();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended: {}", said.lock().unwrap());
            said.lock().unwrap().push_str(&line);
            if let Some(address) = line.trim().strip_prefix("skep: listening on ") {
                break address.to_owned();
            }
        };
        let reader = std::thread::spawn({
            let said = Arc::clone(&said);
            move || {
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|read| read > 0) {
                    said.lock().unwrap().push_str(&std::mem::take(&mut line));
                }
            }
        });
        Self { child, address, said, reader: Some(reader) }
    }

    /// Ends it in good order; gives what it has logged.
    fn stop(mut self) -> String {
        let ended = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(ended.success());
        assert!(self.child.wait().unwrap().success());
        self.reader.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.said.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Who types commands, and remembers all they print.
struct Person {
    data: std::path::PathBuf,
    address: String,
    seen: String,
}

impl Person {
    fn run(&mut self, line: &[&str]) -> Output {
        let output = Command::new(SKEP)
            .args(line)
            .args(["--server", &self.address, "--data"])
            .arg(&self.data)
            .env("GIT_TOKEN", SECRETS[0])
            .env("HOOK_SECRET", SECRETS[2])
            .env("VARIABLE", SECRETS[3])
            .env("SECOND_TOKEN", SECRETS[4])
            .env("REFUSED", SECRETS[5])
            .env("PASSPHRASE", SECRETS[6])
            .env("CHANNEL", format!("http://127.0.0.1:9/services/{}", SECRETS[7]))
            .env("WEBHOOK", SECRETS[8])
            .output()
            .unwrap();
        for text in [&output.stdout, &output.stderr] {
            self.seen.push_str(&String::from_utf8_lossy(text));
        }
        output
    }

    fn done(&mut self, line: &[&str]) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&mut self, code: i32, line: &[&str]) -> String {
        let output = self.run(line);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line:?}: {said}");
        said
    }
}

/// Everything that can be asked for, as text.
async fn everything(address: &str, token: &str) -> String {
    let http = reqwest::Client::new();
    let mut text = String::new();
    let queries = [
        "{ credentials { name type hosts keys createdAt updatedAt usedBy { kind name environment } } }",
        "{ environments { name endpoints tls ssh connected message nodes { hostname labels { name value } } } }",
        "{ stacks { edges { node { name phase reason message conditions { type status reason message } generation \
         source { git ref path credential inline error } variables { name value secret } } } } }",
        "{ deployments { edges { node { id phase message failure { error logTail } originalRequest mappedRequest } } } }",
        "{ notifiers { name type place credential stacks events status { pending lastError } } }",
        "{ events(first: 200) { edges { node { type reason message actor } } } }",
    ];
    for query in queries {
        let body = serde_json::json!({ "query": query }).to_string();
        let request =
            http.post(format!("{address}/graphql")).bearer_auth(token).header("content-type", "application/json");
        let answer = request.body(body).send().await.unwrap().text().await.unwrap();
        assert!(!answer.contains("\"errors\""), "{query}: {answer}");
        text.push_str(&answer);
    }
    for path in ["/metrics", "/api/v1/stacks", "/api/v1/stacks/shop", "/api/v1/deployments", "/healthz", "/readyz"] {
        let answer = http.get(format!("{address}{path}")).bearer_auth(token).send().await.unwrap();
        text.push_str(&answer.text().await.unwrap());
    }
    text
}

/// The secrets that are in a text, also in base64 and turned around as a header has them.
fn found(text: &[u8]) -> Vec<&'static str> {
    // Wherever it begins in its group of three: the middle of it is the same.
    let coded = |secret: &str, shift: usize| {
        let padded = format!("{}{secret}", "x".repeat(shift));
        let coded = base64::engine::general_purpose::STANDARD_NO_PAD.encode(padded);
        coded.as_bytes()[4..coded.len() - 4].to_vec()
    };
    let has = |what: &[u8]| text.windows(what.len()).any(|window| window == what);
    SECRETS.into_iter().filter(|it| has(it.as_bytes()) || (0..3).any(|shift| has(&coded(it, shift)))).collect()
}

fn bytes_below(folder: &Path, all: &mut Vec<u8>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            bytes_below(&path, all);
        } else {
            fs::File::open(&path).unwrap().read_to_end(all).unwrap();
            all.push(b'\n');
        }
    }
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let coded = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{}", SECRETS[0]));
    assert_eq!(found(format!("Basic {coded}").as_bytes()), [SECRETS[0]]);
    assert_eq!(found(format!("a{}b", SECRETS[3]).as_bytes()), [SECRETS[3]]);
    assert!(found(b"nothing").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_comes_out_anywhere() {
    let folder = TempDir::new().unwrap();
    let repo = Repo::create(folder.path(), "shop");
    repo.commit("main", &[("docker-stack.yml", "services: { web: { image: 'x:1', environment: { A: $KEY } } }\n")]);
    let behind = GitServer::start(folder.path());
    let authority = Authority::fresh();
    let front = TlsFront::start(&authority, &behind.base());
    let header = |token: &str| {
        let coded = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
        Manner { wants: Some(format!("Basic {coded}")), ..Manner::default() }
    };
    front.behave(header(SECRETS[0]));
    let data = folder.path().join("skep-data");
    let server = Server::start(&data);
    let mut person = Person { data: data.clone(), address: server.address.clone(), seen: String::new() };

    // Declared from files, as people do.
    let path = |name: &str| folder.path().join(name);
    let (git, ca) = (front.place(), path("ca.pem"));
    fs::write(&ca, authority.pem()).unwrap();
    fs::write(path("password"), format!("{}\n", SECRETS[1])).unwrap();
    let manifest = format!(
        "kind: Credential\nname: shop-git\ntype: GitToken\nhosts: ['{git}']\n\
         data: {{ token: {{ fromEnv: GIT_TOKEN }}, ca: {{ fromFile: ca.pem }} }}\n---\n\
         kind: Credential\nname: registry\ntype: Registry\ndata: {{ username: me, password: {{ fromFile: password }} }}\n---\n\
         kind: Hook\nname: push\nprovider: Generic\nsecret: {{ fromEnv: HOOK_SECRET }}\nrules: [{{ stacks: [shop] }}]\n---\n\
         kind: Credential\nname: out\ntype: Opaque\ndata: {{ secret: {{ fromEnv: WEBHOOK }} }}\n---\n\
         kind: Notifier\nname: team\ntype: Slack\nurl: {{ fromEnv: CHANNEL }}\n---\n\
         kind: Notifier\nname: web\ntype: Webhook\nurl: http://127.0.0.1:9/in\ncredential: out\n---\n\
         kind: Stack\nname: shop\nsource: {{ git: https://{git}/shop.git, ref: main, credential: shop-git }}\n\
         variables: {{ KEY: {{ fromEnv: VARIABLE, secret: true }} }}\n"
    );
    fs::write(path("all.yml"), &manifest).unwrap();
    let all = path("all.yml").display().to_string();
    person.done(&["apply", "-f", &all]);
    let again = person.done(&["apply", "-f", &all]);
    assert_eq!(again.matches("unchanged").count(), 7, "{again}");
    let listed = person.done(&["credential", "list"]);
    assert!(listed.contains("shop-git") && listed.contains("stack/shop") && listed.contains("ca token"), "{listed}");
    let url = format!("https://{git}/shop.git");
    assert!(person.done(&["credential", "test", "shop-git", &url]).contains("branches: main"));

    // Nobody listens there: what is said of that is searched as well.
    for name in ["team", "web"] {
        let said = person.refused(1, &["notifier", "test", name]);
        assert!(said.contains(&format!("{name} did not take it: no connection")), "{said}");
    }
    assert!(person.done(&["notifier", "list"]).contains("http://127.0.0.1:9"));

    // What is refused is not repeated.
    let said = person
        .refused(1, &["credential", "set", "k", "--type", "SshKey", "--host", "h", "--from-env", "privateKey=REFUSED"]);
    assert!(said.contains("`privateKey` is not a private key"), "{said}");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "right", "-f"]).arg(path("key")).status();
    assert!(made.unwrap().success());
    let key = format!("privateKey={}", path("key").display());
    let set = ["credential", "set", "k", "--type", "SshKey", "--host", "h", "--from-file", &key, "--from-env"];
    let said = person.refused(1, &[&set[..], &["passphrase=PASSPHRASE"]].concat());
    assert!(said.contains("`passphrase` does not open `privateKey`"), "{said}");
    let said = person.refused(5, &["credential", "delete", "shop-git"]);
    assert!(said.contains("in use by stack `default/shop`"), "{said}");
    person.refused(3, &["credential", "delete", "nobody"]);

    // A changed token counts at once; the manifest does not undo it.
    front.behave(header(SECRETS[4]));
    let said = person.refused(1, &["credential", "test", "shop-git", &url]);
    assert!(said.contains("refused the sign-in"), "{said}");
    person.done(&["credential", "set", "shop-git", "--from-env", "token=SECOND_TOKEN"]);
    person.done(&["apply", "-f", &all]);
    person.done(&["credential", "test", "shop-git", &url]);

    let token = fs::read_to_string(data.join("admin.token")).unwrap();
    let answers = everything(&server.address, token.trim()).await;
    assert!(answers.contains("shop-git") && answers.contains("CredentialDeclared"), "{answers}");
    let running = person.refused(1, &["credential", "rotate-key"]);
    assert!(running.contains("in use by another process"), "{running}");
    let logged = server.stop();
    let mut on_disk = Vec::new();
    bytes_below(&data, &mut on_disk);
    for (what, text) in
        [("answers", answers.as_bytes()), ("log", logged.as_bytes()), ("data folder", on_disk.as_slice())]
    {
        assert!(found(text).is_empty(), "in the {what}: {:?}", found(text));
    }

    // Another key: everything opens with it, and the old one is gone.
    let before = fs::read_to_string(data.join("seal.key")).unwrap();
    let rotated = person.done(&["credential", "rotate-key"]);
    assert!(rotated.contains("records are sealed with the new key"), "{rotated}");
    let after = fs::read_to_string(data.join("seal.key")).unwrap();
    assert_ne!(after.lines().next(), before.lines().next());
    assert_eq!(after.lines().nth(1), Some(format!("digest {}", before.trim()).as_str()), "digests keep their key");
    let server = Server::start(&data);
    person.address.clone_from(&server.address);
    person.done(&["credential", "test", "shop-git", &url]);
    assert!(person.done(&["apply", "-f", &all]).matches("unchanged").count() == 7);
    let mut logged = server.stop();

    // The key is kept elsewhere: nothing of it is in the folder, and no other key is taken for it.
    let key = data.join("seal.key");
    let text = fs::read_to_string(&key).unwrap().trim().replace('\n', ",");
    fs::rename(&key, path("elsewhere")).unwrap();
    let server = Server::start_with(&data, &[("SKEP_SEAL_KEY", &text)]);
    person.address.clone_from(&server.address);
    person.done(&["credential", "test", "shop-git", &url]);
    logged.push_str(&server.stop());
    assert!(!key.exists() && !logged.contains(&text[..20]), "the key is used, and not kept");
    let elsewhere = path("elsewhere").display().to_string();
    assert!(person.done(&["check", "--seal-key-file", &elsewhere]).contains("all is well"));
    let outside = person.refused(1, &["credential", "rotate-key", "--seal-key-file", &elsewhere]);
    assert!(outside.contains("put a line with the new key in front of it"), "{outside}");
    fs::write(path("other"), format!("{}\n", base64::engine::general_purpose::STANDARD.encode([7; 32]))).unwrap();
    fs::set_permissions(path("other"), Permissions::from_mode(0o600)).unwrap();
    let other = path("other").display().to_string();
    let said = person.refused(1, &["serve", "--listen", "127.0.0.1:0", "--seal-key-file", &other]);
    assert!(said.contains("was not sealed with the key in"), "{said}");
    assert!(found(logged.as_bytes()).is_empty() && found(person.seen.as_bytes()).is_empty());
}
