//! The git source against real git: over http through `git http-backend`, over file://, and over ssh through sshd.
#![expect(clippy::unwrap_used, reason = "tests: what fails here fails the test")]

#[path = "support/git_http.rs"]
pub mod git_http;
#[path = "support/git_ssh.rs"]
pub mod git_ssh;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git_http::{Entry, GitServer, Manner, Repo};
use git_ssh::SshServer;
use jiff::SignedDuration;
use skep::domain::{GitSource, GitUrl, Revision, Wanted};
use skep::outbound::{Outbound, Reach};
use skep::ports::{FileError, FileSet, Source, SourceError};
use skep::source::git::{Git, GitOptions};
use tempfile::TempDir;

/// A server with one repository, `shop`, and a source that may talk to it.
struct Bench {
    server: GitServer,
    repo: Repo,
    git: Git,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut GitOptions)) -> Self {
        let folder = TempDir::new().unwrap();
        let repo = Repo::create(folder.path(), "shop");
        let server = GitServer::start(folder.path());
        let mut options = options(folder.path());
        change(&mut options);
        Self { server, repo, git: Git::new(options), folder }
    }

    fn source(&self, wanted: &str) -> GitSource {
        source(&self.server.url("shop"), wanted)
    }

    async fn resolve(&self, wanted: &str) -> Result<String, SourceError> {
        self.git.resolve(&self.source(wanted)).await.map(|revision| revision.0)
    }

    async fn read(&self, commit: &str, paths: &[&str]) -> Result<FileSet, SourceError> {
        self.git.read(&self.source("main"), &Revision(commit.to_owned()), &set(paths)).await
    }

    async fn text(&self, commit: &str, path: &str) -> String {
        text(&self.read(commit, &[path]).await.unwrap(), path)
    }

    fn copy(&self) -> PathBuf {
        self.git.copy_of(&self.source("main").url)
    }
}

fn options(root: &Path) -> GitOptions {
    GitOptions {
        root: root.join("data"),
        allow_file: true,
        outbound: Outbound::new(Reach::Any),
        reuse_listing: Duration::ZERO,
        ..GitOptions::default()
    }
}

fn source(url: &str, wanted: &str) -> GitSource {
    GitSource {
        url: GitUrl::parse(url).unwrap(),
        wanted: Wanted(wanted.to_owned()),
        path: String::new(),
        credential: None,
        poll: SignedDuration::from_mins(1),
    }
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

fn text(files: &FileSet, path: &str) -> String {
    String::from_utf8(files[path].as_deref().unwrap().to_vec()).unwrap()
}

fn fetches(requests: &[git_http::Request]) -> Vec<u32> {
    requests
        .iter()
        .filter(|request| request.command.as_deref() == Some("fetch"))
        .map(|request| request.objects)
        .collect()
}

fn no_such_ref(result: Result<String, SourceError>) -> String {
    match result {
        Err(SourceError::NoSuchRef { hint, .. }) => hint,
        other => panic!("not NoSuchRef: {other:?}"),
    }
}

#[tokio::test]
async fn every_kind_of_ref_resolves() {
    let bench = Bench::new();
    let one = bench.repo.commit("main", &[("stack.yml", "one")]);
    bench.repo.tag("v1.2.0", &one);
    let two = bench.repo.commit("main", &[("stack.yml", "two")]);
    let tag = bench.repo.annotated_tag("v1.4.0", &two);
    assert_ne!(tag, two);
    let three = bench.repo.commit("dev", &[("stack.yml", "three")]);
    bench.repo.annotated_tag("v2.0.0-rc.1", &three);
    bench.repo.set_ref("refs/pull/7/head", &three);

    assert_eq!(bench.resolve("main").await.unwrap(), two);
    assert_eq!(bench.resolve("HEAD").await.unwrap(), two);
    assert_eq!(bench.resolve("dev").await.unwrap(), three);
    assert_eq!(bench.resolve("v1.2.0").await.unwrap(), one);
    assert_eq!(bench.resolve("v1.4.0").await.unwrap(), two, "an annotated tag gives its commit");
    assert_eq!(bench.resolve("refs/heads/dev").await.unwrap(), three);
    assert_eq!(bench.resolve("refs/tags/v1.2.0").await.unwrap(), one);
    assert_eq!(bench.resolve("refs/pull/7/head").await.unwrap(), three);
    assert_eq!(bench.resolve(">=1.2 <2").await.unwrap(), two);
    assert_eq!(bench.resolve("~1.2").await.unwrap(), one);
    assert_eq!(bench.resolve("1.x").await.unwrap(), two);
    assert_eq!(bench.resolve(">=2.0.0-rc.1").await.unwrap(), three);
    assert!(fetches(&bench.server.take_requests()).is_empty(), "none of these needs objects");
    assert!(!bench.copy().exists(), "nor the disk");

    let hint = no_such_ref(bench.resolve("mian").await);
    assert_eq!(hint, "its branches are main, dev; its tags are v1.2.0, v1.4.0, v2.0.0-rc.1");
    no_such_ref(bench.resolve(">=2").await);
    no_such_ref(bench.resolve("refs/heads/none").await);
    no_such_ref(bench.resolve("").await);
}

#[tokio::test]
async fn commits_resolve_by_their_full_and_short_ids() {
    let bench = Bench::new();
    let one = bench.repo.commit("main", &[("stack.yml", "one")]);
    let two = bench.repo.commit("main", &[("stack.yml", "two")]);

    assert_eq!(bench.resolve(&one).await.unwrap(), one);
    assert_eq!(fetches(&bench.server.take_requests()).len(), 1, "fetched to see that it is there");
    assert_eq!(bench.resolve(&one).await.unwrap(), one);
    assert_eq!(bench.resolve(&two.to_uppercase()).await.unwrap(), two);
    assert_eq!(bench.server.take_requests(), [], "what is here is asked of nobody");

    assert_eq!(bench.resolve(&one[..7]).await.unwrap(), one);
    assert!(fetches(&bench.server.take_requests()).is_empty());
    let three = bench.repo.commit("main", &[("stack.yml", "three")]);
    assert_eq!(bench.resolve(&three[..12]).await.unwrap(), three);
    assert_eq!(fetches(&bench.server.take_requests()), [3]);

    no_such_ref(bench.resolve("0123456").await);
    assert!(fetches(&bench.server.take_requests()).is_empty(), "all there is is here");
    no_such_ref(bench.resolve("0123456789012345678901234567890123456789").await);
    let tree = bench.repo.git(&["rev-parse", "main^{tree}"]);
    assert_eq!(no_such_ref(bench.resolve(&tree).await), "it is a tree, not a commit");
}

#[tokio::test]
async fn a_short_id_that_several_commits_share_is_an_error() {
    let bench = Bench::new();
    let (one, two) = alike(&bench.repo);
    assert_eq!(one[..7], two[..7]);
    let hint = no_such_ref(bench.resolve(&one[..7]).await);
    assert!(hint.starts_with("several commits begin so: "), "{hint}");
    assert!(hint.contains(&one) && hint.contains(&two), "{hint}");
}

/// Two commits on branches of their own whose ids share the first 7 digits.
fn alike(repo: &Repo) -> (String, String) {
    use std::collections::HashMap;
    let tree = git_http::git(&repo.path, &["mktree"], b"");
    let body = |n: u32| format!("tree {tree}\nauthor A <a@b> {n} +0000\ncommitter A <a@b> {n} +0000\n\nalike\n");
    let mut seen: HashMap<[u8; 4], u32> = HashMap::new();
    for n in 0.. {
        let text = body(n);
        let id = sha1(format!("commit {}\0{text}", text.len()).as_bytes());
        let key = [id[0], id[1], id[2], id[3] & 0xf0];
        if let Some(other) = seen.insert(key, n) {
            let write = |n: u32, branch: &str| {
                let commit =
                    git_http::git(&repo.path, &["hash-object", "-t", "commit", "-w", "--stdin"], body(n).as_bytes());
                repo.set_ref(&format!("refs/heads/{branch}"), &commit);
                commit
            };
            return (write(other, "one"), write(n, "two"));
        }
    }
    unreachable!("the digits run out before the numbers")
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(bytes);
    hasher.try_finalize().unwrap().as_slice().try_into().unwrap()
}

#[tokio::test]
async fn a_moved_branch_is_fetched_incrementally_and_nothing_else_is() {
    let bench = Bench::new();
    let many: Vec<(String, String)> = (0..50).map(|n| (format!("files/{n}.txt"), format!("text {n}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let one = bench.repo.commit("main", &many);
    assert_eq!(bench.resolve("main").await.unwrap(), one);
    assert_eq!(bench.text(&one, "files/7.txt").await, "text 7");
    assert_eq!(fetches(&bench.server.take_requests()), [53], "a commit, two folders, fifty files");

    for _ in 0..3 {
        assert_eq!(bench.resolve("main").await.unwrap(), one);
        assert_eq!(bench.text(&one, "files/8.txt").await, "text 8");
    }
    let requests = bench.server.take_requests();
    assert!(fetches(&requests).is_empty(), "{requests:?}");
    assert_eq!(requests.len(), 6, "two for each listing, none for reading: {requests:?}");

    let two = bench.repo.commit("main", &[("files/7.txt", "changed")]);
    assert_eq!(bench.resolve("main").await.unwrap(), two);
    assert_eq!(bench.text(&two, "files/7.txt").await, "changed");
    assert_eq!(fetches(&bench.server.take_requests()), [4], "a commit, two folders, one file");
    assert_eq!(bench.text(&one, "files/7.txt").await, "text 7", "the old commit is still here");
}

#[tokio::test]
async fn forced_pushes_and_deleted_branches() {
    let bench = Bench::new();
    let base = bench.repo.commit("main", &[("stack.yml", "base")]);
    let lost = bench.repo.commit("main", &[("stack.yml", "lost")]);
    assert_eq!(bench.text(&lost, "stack.yml").await, "lost");
    bench.repo.set_ref("refs/heads/main", &base);
    let won = bench.repo.commit("main", &[("stack.yml", "won")]);
    assert_eq!(bench.resolve("main").await.unwrap(), won);
    assert_eq!(bench.text(&won, "stack.yml").await, "won");
    assert_eq!(bench.text(&lost, "stack.yml").await, "lost", "what was fetched stays");

    // A name that becomes a folder of names, and back.
    let one = bench.repo.commit("fix", &[("stack.yml", "fix")]);
    assert_eq!(bench.text(&one, "stack.yml").await, "fix");
    bench.repo.delete_ref("refs/heads/fix");
    no_such_ref(bench.resolve("fix").await);
    let two = bench.repo.commit("fix/login", &[("stack.yml", "login")]);
    assert_eq!(bench.resolve("fix/login").await.unwrap(), two);
    assert_eq!(bench.text(&two, "stack.yml").await, "login");
    bench.repo.delete_ref("refs/heads/fix/login");
    let three = bench.repo.commit("fix", &[("stack.yml", "again")]);
    assert_eq!(bench.text(&three, "stack.yml").await, "again");
}

#[tokio::test]
async fn a_commit_on_no_branch_is_asked_for_by_its_id() {
    let bench = Bench::new();
    bench.repo.commit("main", &[("stack.yml", "main")]);
    let aside = bench.repo.commit("aside", &[("stack.yml", "aside")]);
    bench.repo.set_ref("refs/pull/1/head", &aside);
    bench.repo.delete_ref("refs/heads/aside");
    assert_eq!(bench.text(&aside, "stack.yml").await, "aside");
    bench.server.take_requests();
    assert_eq!(bench.text(&aside, "stack.yml").await, "aside");
    assert_eq!(bench.server.take_requests(), []);

    let nowhere = "0123456789012345678901234567890123456789";
    let error = bench.read(nowhere, &["stack.yml"]).await.unwrap_err();
    assert!(matches!(error, SourceError::NoSuchRef { .. }), "{error}");
    let error = bench.read("main", &["stack.yml"]).await.unwrap_err();
    assert!(matches!(error, SourceError::NoSuchRef { .. }), "{error}");
}

#[tokio::test]
async fn an_empty_repository_has_nothing_yet() {
    let bench = Bench::new();
    assert_eq!(no_such_ref(bench.resolve("main").await), "it has no branches and no tags yet");
    assert_eq!(no_such_ref(bench.resolve("HEAD").await), "it has no branches and no tags yet");
    no_such_ref(bench.resolve("abcdef1").await);
    let one = bench.repo.commit("main", &[("stack.yml", "one")]);
    assert_eq!(bench.resolve(&one[..10]).await.unwrap(), one);
}

#[tokio::test]
async fn files_are_read_from_the_tree_and_from_nowhere_else() {
    let bench = Bench::with(|options| options.max_file = 10);
    let other = "1111111111111111111111111111111111111111";
    let commit = bench.repo.commit_entries(
        "main",
        &[
            ("stack.yml", Entry::Text("top")),
            ("a/b/deep.yml", Entry::Text("deep")),
            ("a/exact", Entry::Bytes(&[0, 255, 10])),
            ("a/to-top", Entry::Link("../stack.yml")),
            ("a/b/chain", Entry::Link("../to-top")),
            ("folder", Entry::Link("a/b")),
            ("out", Entry::Link("../outside")),
            ("a/b/out", Entry::Link("../../../etc/passwd")),
            ("absolute", Entry::Link("/etc/passwd")),
            ("dangling", Entry::Link("none")),
            ("loop", Entry::Link("loop")),
            ("large", Entry::Text("01234567890")),
            ("lib", Entry::Submodule(other)),
        ],
    );
    let paths = [
        "stack.yml",
        "./a/../stack.yml",
        "a/b/deep.yml",
        "a/exact",
        "a/to-top",
        "a/b/chain",
        "folder/deep.yml",
        "folder/../exact",
        "out",
        "a/b/out",
        "absolute",
        "dangling",
        "loop",
        "large",
        "lib/x",
        "lib",
        "a",
        "",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a\\b",
        "none",
        "stack.yml/x",
        "a/b/none",
    ];
    let files = bench.read(&commit, &paths).await.unwrap();
    assert_eq!(files.len(), paths.len());
    for (path, content) in [
        ("stack.yml", "top"),
        ("./a/../stack.yml", "top"),
        ("a/b/deep.yml", "deep"),
        ("a/to-top", "top"),
        ("a/b/chain", "top"),
        ("folder/deep.yml", "deep"),
    ] {
        assert_eq!(text(&files, path), content, "{path}");
    }
    assert_eq!(files["a/exact"].as_deref().unwrap(), [0, 255, 10]);
    for path in ["out", "a/b/out", "absolute", "../x", "a/../../x", "/etc/passwd", "a\\b"] {
        assert_eq!(files[path], Err(FileError::Escapes(path.to_owned())));
    }
    for path in ["dangling", "loop", "none", "stack.yml/x", "a/b/none", "folder/../exact"] {
        assert_eq!(files[path], Err(FileError::NotFound(path.to_owned())));
    }
    for path in ["a", ""] {
        assert_eq!(files[path], Err(FileError::Folder(path.to_owned())));
    }
    for path in ["lib", "lib/x"] {
        assert_eq!(files[path], Err(FileError::Submodule(path.to_owned())));
    }
    assert_eq!(files["large"], Err(FileError::TooLarge { path: "large".to_owned(), size: 11, limit: 10 }));

    let info = bench.git.commit_info(&bench.source("main"), &Revision(commit)).await.unwrap();
    assert_eq!((info.author.as_str(), info.title.as_str()), ("Ada", "Change stack.yml"));
    assert_eq!(info.time.as_second(), 1_700_000_000);
}

#[tokio::test]
async fn a_host_that_is_gone_or_says_no() {
    let mut bench = Bench::new();
    let commit = bench.repo.commit("main", &[("stack.yml", "one")]);
    assert_eq!(bench.text(&commit, "stack.yml").await, "one");

    for code in [401, 403] {
        bench.server.behave(Manner::Status(code));
        let error = bench.resolve("main").await.unwrap_err();
        assert!(matches!(error, SourceError::Unauthorized { .. }), "{error}");
        assert!(!error.is_transient());
    }
    bench.server.behave(Manner::Status(404));
    assert!(matches!(bench.resolve("main").await, Err(SourceError::NotFound { .. })));
    bench.server.behave(Manner::Status(500));
    assert!(bench.resolve("main").await.unwrap_err().is_transient());
    bench.server.behave(Manner::Serve);
    let missing = source(&bench.server.url("none"), "main");
    assert!(matches!(bench.git.resolve(&missing).await, Err(SourceError::NotFound { .. })));

    for junk in [&b""[..], b"<html>hello</html>", b"0000", b"001e# service=git-upload-pack\n0000ffff"] {
        bench.server.behave(Manner::Garbage(junk.to_vec()));
        let error = bench.resolve("main").await.unwrap_err();
        assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    }

    bench.server.stop();
    let error = bench.resolve("main").await.unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable { reason, .. } if reason.contains("refused")), "{error}");
    assert_eq!(bench.text(&commit, "stack.yml").await, "one", "what is here is read without the host");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hangs_delays_only_its_own() {
    let bench = Bench::with(|options| {
        options.conversations = 3;
        options.conversations_per_host = 2;
    });
    let commit = bench.repo.commit("main", &[("stack.yml", "one")]);
    bench.server.behave(Manner::Hang);
    let names: Vec<String> = (0..6).map(|n| format!("refs/other/{n}")).collect();
    let hanging: Vec<_> = names
        .iter()
        .map(|name| {
            let (git, source) = (bench.git.clone(), bench.source(name));
            tokio::spawn(async move { git.resolve(&source).await })
        })
        .collect();
    let file = source(&bench.repo.file_url(), "main");
    bench.server.wait_for_arrivals(2);
    assert_eq!(bench.git.resolve(&file).await.unwrap().0, commit);
    assert!(hanging.iter().all(|one| !one.is_finished()), "another host waits for none of them");
    bench.server.behave(Manner::Serve);
    for one in hanging {
        assert!(matches!(one.await.unwrap(), Err(SourceError::NoSuchRef { .. })));
    }
}

#[tokio::test]
async fn a_conversation_has_an_end() {
    let bench = Bench::with(|options| {
        options.list_timeout = Duration::from_millis(300);
        options.fetch_timeout = Duration::from_millis(300);
    });
    let commit = bench.repo.commit("main", &[("stack.yml", "one")]);
    bench.server.behave(Manner::Hang);
    let ended = |error: SourceError| match error {
        SourceError::Unreachable { reason, .. } => assert_eq!(reason, "no end within 300ms"),
        other => panic!("{other}"),
    };
    ended(bench.resolve("main").await.unwrap_err());
    ended(bench.read(&commit, &["stack.yml"]).await.unwrap_err());
    bench.server.behave(Manner::Serve);
    let patient = Git::new(options(bench.folder.path()));
    let files = patient.read(&bench.source("main"), &Revision(commit), &set(&["stack.yml"])).await.unwrap();
    assert_eq!(text(&files, "stack.yml"), "one", "and it recovers");
}

#[tokio::test]
async fn a_host_with_the_old_protocol() {
    let bench = Bench::new();
    bench.server.behave(Manner::OldProtocol);
    let one = bench.repo.commit("main", &[("stack.yml", "one")]);
    bench.repo.annotated_tag("v1.0.0", &one);
    for wanted in ["main", "HEAD", "v1.0.0", "~1", &one[..9]] {
        assert_eq!(bench.resolve(wanted).await.unwrap(), one, "{wanted}");
    }
    assert_eq!(bench.text(&one, "stack.yml").await, "one");
    let two = bench.repo.commit("main", &[("stack.yml", "two")]);
    assert_eq!(bench.text(&two, "stack.yml").await, "two");
    let nowhere = "0123456789012345678901234567890123456789";
    no_such_ref(bench.resolve(nowhere).await);
}

#[tokio::test]
async fn silence_ends_a_conversation_before_its_time() {
    let bench = Bench::with(|options| options.idle_timeout = Duration::from_millis(200));
    bench.repo.commit("main", &[("stack.yml", "one")]);
    bench.server.behave(Manner::Hang);
    let error = bench.resolve("main").await.unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable { reason, .. } if reason.contains("silence")), "{error}");
}

#[tokio::test]
async fn a_program_that_hangs_is_ended() {
    let bench = Bench::with(|options| {
        options.ssh_program = options.root.with_file_name("slow");
        options.list_timeout = Duration::from_millis(300);
    });
    let slow = bench.folder.path().join("slow");
    fs::write(&slow, "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = bench.git.resolve(&source("ssh://git@127.0.0.1/x", "main")).await.unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable { reason, .. } if reason.contains("no end")), "{error}");
}

#[tokio::test]
async fn spoilt_packs_are_refused_and_leave_no_trace() {
    let bench = Bench::new();
    let one = bench.repo.commit("main", &[("stack.yml", "one")]);
    bench.server.behave(Manner::SpoiltPacks);
    let error = bench.read(&one, &["stack.yml"]).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    bench.server.behave(Manner::Serve);
    assert_eq!(bench.text(&one, "stack.yml").await, "one");

    let two = bench.repo.commit("main", &[("stack.yml", "two")]);
    bench.server.behave(Manner::SpoiltPacks);
    let error = bench.read(&two, &["stack.yml"]).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    assert_eq!(bench.text(&one, "stack.yml").await, "one", "the copy is whole");
    assert!(!bench.copy().with_extension("damaged").exists());
    bench.server.behave(Manner::Serve);
    assert_eq!(bench.text(&two, "stack.yml").await, "two");
}

#[tokio::test]
async fn a_repository_over_the_limit_is_refused() {
    let bench = Bench::with(|options| options.max_repository = 20_000);
    // Bytes that do not shrink.
    let mut noise = Vec::new();
    let mut next = 1_u32;
    for _ in 0..40_000 {
        next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push(next.to_be_bytes()[0]);
    }
    let commit = bench.repo.commit_entries("main", &[("noise", Entry::Bytes(&noise))]);
    let error = bench.read(&commit, &["noise"]).await.unwrap_err();
    assert!(matches!(error, SourceError::TooLarge { .. }), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn what_is_not_allowed_is_not_asked() {
    let bench = Bench::with(|options| {
        options.allow_file = false;
        options.outbound = Outbound::new(Reach::Public);
    });
    let port = bench.server.base().rsplit(':').next().unwrap().to_owned();
    for url in [
        bench.repo.file_url(),
        bench.server.url("shop"),
        format!("http://localhost:{port}/shop.git"),
        format!("http://[::ffff:127.0.0.1]:{port}/shop.git"),
        format!("http://2130706433:{port}/shop.git"),
        "http://169.254.169.254/latest".to_owned(),
        "ssh://git@localhost/x".to_owned(),
        "ssh://git@127.0.0.1/x".to_owned(),
    ] {
        let error = bench.git.resolve(&source(&url, "main")).await.unwrap_err();
        assert!(
            matches!(&error, SourceError::Forbidden { reason, .. } if reason.contains("--allow-")),
            "{url}: {error}"
        );
        let revision = Revision("0123456789012345678901234567890123456789".to_owned());
        let error = bench.git.read(&source(&url, "main"), &revision, &set(&["x"])).await.unwrap_err();
        assert!(matches!(error, SourceError::Forbidden { .. }), "{url}: {error}");
    }
    assert_eq!(bench.server.take_requests(), []);
}

#[tokio::test]
async fn redirects_stay_on_the_host() {
    let bench = Bench::new();
    let commit = bench.repo.commit("main", &[("stack.yml", "one")]);
    let other = GitServer::start(bench.folder.path());
    bench.server.behave(Manner::Redirect(other.base()));
    let error = bench.resolve("main").await.unwrap_err();
    assert!(matches!(&error, SourceError::Forbidden { reason, .. } if reason.contains("redirects")), "{error}");
    assert_eq!(other.take_requests(), []);

    // A repository that was renamed: the host says so once, and the rest goes to the new name.
    bench.server.behave(Manner::Renamed { from: "/old.git".to_owned(), to: "/shop.git".to_owned() });
    let old = source(&bench.server.url("old"), "main");
    assert_eq!(bench.git.resolve(&old).await.unwrap().0, commit);
    let files = bench.git.read(&old, &Revision(commit), &set(&["stack.yml"])).await.unwrap();
    assert_eq!(text(&files, "stack.yml"), "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_at_the_same_time_share_one_listing_and_one_fetch() {
    let bench = Bench::new();
    let commit = bench.repo.commit("main", &[("stack.yml", "one")]);
    // All in one task: each is begun before any can end.
    let calls = futures_util::future::join_all((0..20).map(|_| bench.resolve("main"))).await;
    assert!(calls.iter().all(|call| call.as_ref() == Ok(&commit)), "{calls:?}");
    assert_eq!(bench.server.take_requests().len(), 2);

    bench.server.behave(Manner::Hang);
    let reads: Vec<_> = (0..20)
        .map(|_| {
            let (git, source, revision) = (bench.git.clone(), bench.source("main"), Revision(commit.clone()));
            tokio::spawn(async move { git.read(&source, &revision, &set(&["stack.yml"])).await.unwrap() })
        })
        .collect();
    bench.server.behave(Manner::Serve);
    for read in reads {
        assert_eq!(text(&read.await.unwrap(), "stack.yml"), "one");
    }
    assert_eq!(fetches(&bench.server.take_requests()).len(), 1);
}

#[tokio::test]
async fn a_young_listing_is_used_again() {
    let bench = Bench::with(|options| options.reuse_listing = Duration::from_secs(3600));
    let commit = bench.repo.commit("main", &[("stack.yml", "one")]);
    bench.repo.tag("v1.0.0", &commit);
    for wanted in ["main", "v1.0.0", "^1", "main"] {
        assert_eq!(bench.resolve(wanted).await.unwrap(), commit);
    }
    assert_eq!(bench.server.take_requests().len(), 2);
}

#[tokio::test]
async fn a_damaged_copy_heals_itself() {
    let bench = Bench::new();
    let one = bench.repo.commit("main", &[("stack.yml", "one")]);
    let copy = bench.copy();
    let pack = || {
        let mut packs = fs::read_dir(copy.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
        packs.find(|path| path.extension().is_some_and(|ext| ext == "pack")).unwrap()
    };
    let spoil = |path: &Path, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(path).unwrap();
        change(&mut bytes);
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let damages: [(&str, &dyn Fn()); 5] = [
        ("bytes of the pack changed", &|| {
            spoil(&pack(), &|bytes| bytes.iter_mut().skip(12).for_each(|byte| *byte ^= 0x55))
        }),
        ("the pack cut short", &|| spoil(&pack(), &|bytes| bytes.truncate(30))),
        ("the index is noise", &|| spoil(&pack().with_extension("idx"), &|bytes| bytes.fill(7))),
        ("the pack is gone, its refs are not", &|| {
            fs::remove_file(pack().with_extension("idx")).unwrap();
            fs::remove_file(pack()).unwrap();
        }),
        ("no repository any more", &|| fs::remove_file(copy.join("HEAD")).unwrap()),
    ];
    for (name, damage) in damages {
        assert_eq!(bench.text(&one, "stack.yml").await, "one", "before: {name}");
        bench.server.take_requests();
        damage();
        assert_eq!(bench.text(&one, "stack.yml").await, "one", "{name}");
        assert_eq!(fetches(&bench.server.take_requests()).len(), 1, "{name}");
    }
    assert!(copy.with_extension("damaged").exists(), "the old one is kept aside");

    // Damage in what a fetch builds on.
    spoil(&pack(), &|bytes| bytes.iter_mut().skip(12).for_each(|byte| *byte ^= 0x55));
    let two = bench.repo.commit("main", &[("two.yml", "two")]);
    assert_eq!(bench.text(&two, "two.yml").await, "two");
    assert_eq!(bench.text(&two, "stack.yml").await, "one");
}

#[tokio::test]
async fn what_a_killed_process_left_is_tidied() {
    let bench = Bench::new();
    let one = bench.repo.commit("main", &[("stack.yml", "one")]);
    assert_eq!(bench.text(&one, "stack.yml").await, "one");
    let copy = bench.copy();
    for lock in ["packed-refs.lock", "HEAD.lock", "config.lock"] {
        fs::write(copy.join(lock), "").unwrap();
    }
    fs::write(copy.join("objects/pack/tmp-pack"), "half").unwrap();
    let two = bench.repo.commit("main", &[("stack.yml", "two")]);
    let next = Git::new(options(bench.folder.path()));
    let files = next.read(&bench.source("main"), &Revision(two), &set(&["stack.yml"])).await.unwrap();
    assert_eq!(text(&files, "stack.yml"), "two");
    assert!(!copy.join("objects/pack/tmp-pack").exists());
}

#[tokio::test]
async fn a_copy_with_many_packs_is_renewed() {
    let bench = Bench::with(|options| options.max_packs = 2);
    let mut last = String::new();
    for n in 0..4 {
        let content = n.to_string();
        last = bench.repo.commit("main", &[("stack.yml", &content)]);
        assert_eq!(bench.text(&last, "stack.yml").await, content);
    }
    assert_eq!(bench.text(&last, "stack.yml").await, "3");
    let packs = fs::read_dir(bench.copy().join("objects/pack")).unwrap();
    let packs =
        packs.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|ext| ext == "pack")).count();
    assert!(packs <= 2, "{packs}");
}

#[tokio::test]
async fn over_file() {
    let bench = Bench::new();
    let one = bench.repo.commit("main", &[("stack.yml", "one")]);
    bench.repo.annotated_tag("v1.0.0", &one);
    let at = |wanted: &str| source(&bench.repo.file_url(), wanted);
    assert_eq!(bench.git.resolve(&at("main")).await.unwrap().0, one);
    assert_eq!(bench.git.resolve(&at("^1")).await.unwrap().0, one);
    assert_eq!(bench.git.resolve(&at(&one[..8])).await.unwrap().0, one);
    let files = bench.git.read(&at("main"), &Revision(one), &set(&["stack.yml"])).await.unwrap();
    assert_eq!(text(&files, "stack.yml"), "one");
    let two = bench.repo.commit("main", &[("stack.yml", "two")]);
    let files = bench.git.read(&at("main"), &Revision(two), &set(&["stack.yml"])).await.unwrap();
    assert_eq!(text(&files, "stack.yml"), "two");

    let missing = source(&format!("file://{}/none.git", bench.folder.path().display()), "main");
    assert!(matches!(bench.git.resolve(&missing).await, Err(SourceError::NotFound { .. })));
    let without = Git::new(GitOptions { git_program: "no-such-git".into(), ..options(bench.folder.path()) });
    let error = without.resolve(&at("main")).await.unwrap_err();
    assert!(error.to_string().contains("needs the program git"), "{error}");
}

#[tokio::test]
async fn over_ssh() {
    let folder = TempDir::new().unwrap();
    let server = SshServer::start(folder.path());
    let repo = Repo::create(folder.path(), "it's a shop");
    let one = repo.commit("main", &[("stack.yml", "one")]);
    let with = |arguments| Git::new(GitOptions { ssh_arguments: arguments, ..options(folder.path()) });
    // An address holds no spaces; the folder is reached by another name.
    let plain = folder.path().join("it's.git");
    std::os::unix::fs::symlink(&repo.path, &plain).unwrap();
    let at = |wanted: &str| source(&server.url(&plain), wanted);
    let git = with(server.arguments());
    assert_eq!(git.resolve(&at("main")).await.unwrap().0, one);
    let files = git.read(&at("main"), &Revision(one), &set(&["stack.yml"])).await.unwrap();
    assert_eq!(text(&files, "stack.yml"), "one");
    let two = repo.commit("main", &[("stack.yml", "two")]);
    assert_eq!(git.resolve(&at("main")).await.unwrap().0, two);
    let files = git.read(&at("main"), &Revision(two), &set(&["stack.yml"])).await.unwrap();
    assert_eq!(text(&files, "stack.yml"), "two");

    let missing = source(&server.url(&folder.path().join("none.git")), "main");
    let error = git.resolve(&missing).await.unwrap_err();
    assert!(matches!(error, SourceError::NotFound { .. }), "{error}");
    let error = with(server.arguments_of_a_stranger()).resolve(&at("main")).await.unwrap_err();
    assert!(matches!(error, SourceError::Unauthorized { .. }), "{error}");
    let error = with(server.arguments_without_known_hosts()).resolve(&at("main")).await.unwrap_err();
    assert!(error.to_string().contains("known hosts"), "{error}");
    let url = server.url(&plain);
    drop(server);
    let error = git.resolve(&source(&url, "main")).await.unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable { reason, .. } if reason.contains("refused")), "{error}");
    let without = Git::new(GitOptions { ssh_program: "no-such-ssh".into(), ..options(folder.path()) });
    let error = without.resolve(&source(&url, "main")).await.unwrap_err();
    assert!(error.to_string().contains("cannot be started"), "{error}");
}
