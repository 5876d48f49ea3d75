//! The image, as the script builds it: what is in it, and that Skep works in it, read-only and as a user of no rights.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::git_http::Repo;
use crate::git_ssh::SshServer;
use crate::support::compose::{Web, compose};
use crate::support::docker::{self, docker, try_docker};
use crate::support::hive::Stay;
use crate::support::image::{Image, SOCKET, socket, until_healthy, user};
use crate::support::stack::unique;

/// Skep in a container with a network and a volume of its own. All of it is removed when dropped.
struct Contained {
    name: String,
    stack: String,
}

impl Contained {
    /// A network first: its gateway is this machine's address there.
    fn network() -> (Self, String) {
        let name = unique("contained");
        docker(&["network", "create", &name]);
        let gateway = docker(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", &name]);
        (Self { name, stack: unique("shipped") }, gateway)
    }

    /// By the commands of the guide, with names, port and socket of this test, and what else it needs. Gives the admin's token.
    fn run(&self, image: &Image, gateway: &str) -> String {
        let name = &self.name;
        let folder = TempDir::with_prefix("skep-e2e-image-").unwrap();
        let more = format!(
            "--network {name} --network-alias skep.example --add-host git.example:{gateway} --health-interval 1s --name {name} "
        );
        let version = env!("CARGO_PKG_VERSION");
        let mut commands = guide();
        for (shown, here) in [
            ("--name skep ".to_owned(), more),
            (" 65532:$(stat -c %g /var/run/docker.sock)".to_owned(), format!(" {}", user())),
            (" 127.0.0.1:7717:7717".to_owned(), " 127.0.0.1::7717".to_owned()),
            (" skep:/var/lib/skep ".to_owned(), format!(" {name}:/var/lib/skep ")),
            (format!(" /var/run/docker.sock:{SOCKET} "), format!(" {}:{SOCKET} ", socket())),
            (
                format!(" skep:{version} serve --insecure"),
                format!(" {} serve --insecure --allow-private-addresses", image.0),
            ),
            ("docker cp skep:".to_owned(), format!("docker cp {name}:")),
        ] {
            assert_eq!(commands.matches(&shown).count(), 1, "{shown} in {commands}");
            commands = commands.replace(&shown, &here);
        }
        let (run, copy) = commands.trim_end().rsplit_once('\n').unwrap();
        for (part, commands) in [("run", run), ("copy", copy)] {
            let done = Command::new("bash").args(["-euc", commands]).current_dir(folder.path()).output().unwrap();
            assert!(done.status.success(), "{commands}: {done:?}");
            if part == "run" {
                until_healthy(name);
            }
        }
        fs::read_to_string(folder.path().join("admin.token")).unwrap().trim().to_owned()
    }

    /// The command line inside of the container: it finds the token in the volume.
    fn skep(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new("docker")
            .args(["exec", "-i", &self.name, "skep"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn must(&self, arguments: &[&str], input: &str) -> String {
        let output = self.skep(arguments, input);
        assert!(output.status.success(), "skep {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        self.skep(&["delete", &self.stack, "--yes"], "");
        let _ = try_docker(&["rm", "-f", "-v", &self.name]);
        docker::remove_stack(&self.stack);
        let _ = try_docker(&["volume", "rm", &self.name]);
        let _ = try_docker(&["network", "rm", &self.name]);
        docker::clear_left_claims();
    }
}

/// The commands of docs/guides/install.md that run the image.
fn guide() -> String {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guides/install.md")).unwrap();
    let found = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let found: Vec<_> = found.filter(|block| block.starts_with("docker run ")).collect();
    let [block] = found[..] else { panic!("one block runs the image: {found:?}") };
    block.to_owned()
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[tokio::test]
async fn the_image_runs_read_only_as_nobody_and_brings_a_stack_from_git_over_ssh_about() {
    let _nobody = Stay::nobody().await;
    let image = Image::build();
    let (contained, gateway) = Contained::network();
    let folder = TempDir::with_prefix("skep-e2e-ssh-").unwrap();
    let ssh = SshServer::start_on(folder.path(), &gateway);
    let repositories = TempDir::with_prefix("skep-e2e-git-").unwrap();
    let stack = &contained.stack;
    let repo = Repo::create(repositories.path(), stack);
    let first = repo.commit("main", &[("docker-stack.yml", &compose("1", Web::Good))]);
    let token = contained.run(&image, &gateway);
    contained.must(&["get", "stacks", "--token", &token], "");
    let no_token = contained.skep(&["get", "stacks", "--token", &token[1..]], "");
    assert!(!no_token.status.success(), "another token than the one that was copied out: {no_token:?}");

    // A name of the engine's own DNS, and one of the hosts file that nobody listens at.
    contained.must(&["health", "--ready", "--url", "http://skep.example:7717"], "");
    let refused = contained.skep(&["health", "--url", "http://git.example:1", "--patience", "300ms"], "");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refused"), "{refused:?}");
    let unknown = contained.skep(&["health", "--url", "http://nowhere.example:1", "--patience", "300ms"], "");
    assert!(!String::from_utf8_lossy(&unknown.stderr).contains("refused"), "{unknown:?}");

    let url = ssh.url_by("git.example", &repositories.path().join(format!("{stack}.git")));
    let manifests = format!(
        "kind: Credential\nname: deploy-key\ntype: SshKey\nhosts: [git.example]\ndata:\n  privateKey: |\n{}  knownHosts: |\n{}\
         ---\nkind: Stack\nname: {stack}\nsource: {{ git: {url:?}, ref: main, credential: deploy-key }}\n\
         compose: [docker-stack.yml]\npolicy: {{ progressDeadline: 60s, monitor: 1s }}\n",
        indented(&ssh.key()),
        indented(&ssh.known_by("git.example")),
    );
    contained.must(&["apply", "-f", "-", "--wait", "--timeout", "2m"], &manifests);
    assert_eq!(docker::running_releases(&format!("{stack}_web")), ["1", "1"]);
    assert!(contained.must(&["get", "stack", stack, "-o", "json"], "").contains(&first));

    // It ends in good order as the first process of its container, and what it knew is in the volume.
    docker(&["stop", "--time", "20", &contained.name]);
    assert_eq!(docker(&["inspect", "-f", "{{.State.ExitCode}}", &contained.name]), "0");
    docker(&["start", &contained.name]);
    until_healthy(&contained.name);
    contained.must(&["wait", stack], "");
    let second = repo.commit("main", &[("docker-stack.yml", &compose("2", Web::Good))]);
    contained.must(&["deploy", stack, "--ref", &second, "--wait", "--timeout", "2m"], "");
    assert_eq!(docker::running_releases(&format!("{stack}_web")), ["2", "2"]);
}

#[tokio::test]
async fn the_image_holds_what_skep_calls_and_nothing_else() {
    let _nobody = Stay::nobody().await;
    let image = Image::build();
    let container = docker(&["create", &image.0]);
    let export = Command::new("sh").args(["-c", "docker export $0 | tar -t", &container]).output().unwrap();
    docker(&["rm", "-v", &container]);
    let listing = String::from_utf8(export.stdout).unwrap();
    let files: Vec<_> = listing.lines().filter(|name| !name.ends_with('/')).collect();
    // What the engine puts into every container.
    let of_engine = |name: &&&str| {
        name.starts_with("dev/")
            || ["hostname", "hosts", "mtab", "resolv.conf"].iter().any(|it| **name == format!("etc/{it}"))
            || **name == ".dockerenv"
    };
    let library = |name: &&&str| (name.starts_with("lib/") || name.starts_with("lib64/")) && name.contains(".so");
    let mut rest: Vec<_> = files.iter().filter(|name| !of_engine(name) && !library(name)).copied().collect();
    rest.sort_unstable();
    let wanted = [
        "etc/group",
        "etc/nsswitch.conf",
        "etc/passwd",
        "etc/ssl/certs/ca-certificates.crt",
        "usr/bin/skep",
        "usr/bin/ssh",
    ];
    assert_eq!(rest, wanted);

    let about = |what: &str| docker(&["image", "inspect", "-f", what, &image.0]);
    assert_eq!(about("{{.Config.User}} {{json .Config.Volumes}}"), r#"65532:65532 {"/var/lib/skep":{}}"#);
    assert_eq!(about("{{json .Config.Healthcheck.Test}}"), r#"["CMD","/usr/bin/skep","health"]"#);
    let label = |name: &str| about(&format!("{{{{index .Config.Labels \"org.opencontainers.image.{name}\"}}}}"));
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!((label("title").as_str(), label("licenses").as_str()), ("skep", "Apache-2.0"));
    assert!(label("created").ends_with('Z') && !label("revision").is_empty());

    // Without TLS or a word it does not listen for others.
    let refused = Command::new("docker").args(["run", "--rm", &image.0]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--tls-cert"), "{refused:?}");
}
