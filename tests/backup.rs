//! Backup, restore and check, by the binary itself; and data folders of every format there was, opened by this version.
#![expect(clippy::unwrap_used, reason = "tests: what fails here fails the test")]

#[path = "support/serving.rs"]
pub mod serving;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use skep::domain::{DeploymentId, phase};
use skep::ledger::{Ledger, RecordKey};
use skep::ports::{Scan, Store};
use skep::store::sled::SledStore;
use tempfile::TempDir;

const SKEP: &str = env!("CARGO_BIN_EXE_skep");
const SECRET: &str = "marked-value-of-a-variable-5c1d0";

/// A server without an engine. It ends when dropped.
struct Server {
    child: Child,
    address: String,
    data: PathBuf,
}

impl Server {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(SKEP)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--docker"])
            .arg(format!("unix://{}", data.with_extension("nothing").display()))
            .arg("--data")
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let address = serving::address_of(&mut child);
        Self { child, address, data: data.to_owned() }
    }

    fn cli(&self, arguments: &[&str]) -> Output {
        let mut all = vec!["--server", &self.address];
        all.extend(arguments);
        cli(&self.data, &all)
    }

    fn stop(mut self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn cli(data: &Path, arguments: &[&str]) -> Output {
    Command::new(SKEP).arg("--data").arg(data).args(arguments).env_remove("SKEP_TOKEN").output().unwrap()
}

fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(output: &Output, code: i32, words: &str) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(words), "`{words}` is not in: {text}");
}

fn stack(name: &str, padding: usize) -> String {
    let services = format!("services: {{ web: {{ image: 'nginx:1', labels: {{ x: '{}' }} }} }}", "y".repeat(padding));
    format!(
        "kind: Stack\nname: {name}\ninline: \"{services}\"\nvariables: {{ KEY: {{ value: {SECRET}, secret: true }} }}\n"
    )
}

fn apply(server: &Server, folder: &Path, text: &str) {
    let file = folder.join("manifest.yml");
    fs::write(&file, text).unwrap();
    done(&server.cli(&["apply", "-f", file.to_str().unwrap()]));
}

fn stacks(server: &Server, token: Option<&str>) -> BTreeMap<String, u64> {
    let mut arguments = vec!["get", "stacks", "-o", "json"];
    arguments.extend(token.iter().flat_map(|token| ["--token", *token]));
    let found: Value = serde_json::from_str(&done(&server.cli(&arguments))).unwrap();
    let pair = |it: &Value| (it["name"].as_str().unwrap().to_owned(), it["generation"].as_u64().unwrap());
    found.as_array().unwrap().iter().map(pair).collect()
}

/// What is in a folder, but for copies of repositories: names, and what each file holds.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// A server that has something to lose, and a backup of it.
fn backed_up(folder: &Path) -> (PathBuf, PathBuf) {
    let data = folder.join("data");
    let server = Server::start(&data);
    apply(&server, folder, &stack("shop", 10));
    // Too large for a record: it goes to a file.
    apply(&server, folder, &stack("large", 40_000));
    let file = folder.join("skep.tar");
    done(&server.cli(&["backup", file.to_str().unwrap()]));
    server.stop();
    (data, file)
}

#[test]
fn a_backup_taken_while_it_works_is_whole_and_comes_back_with_what_it_knew() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data);
    apply(&server, folder.path(), &stack("shop", 10));
    apply(&server, folder.path(), &stack("large", 40_000));
    let token = done(&server.cli(&["token", "create", "reader", "--role", "viewer"])).trim().to_owned();
    // Someone writes all the time, small and large: each of five backups is of one moment.
    let end = std::sync::atomic::AtomicBool::new(false);
    let files: Vec<PathBuf> = std::thread::scope(|scope| {
        let (server, end, folder) = (&server, &end, folder.path());
        scope.spawn(move || {
            let mut round = 0;
            while !end.load(std::sync::atomic::Ordering::Relaxed) {
                apply(server, folder, &[stack("busy", round), stack("busy-too", 20_000 + round)].join("---\n"));
                round += 1;
            }
        });
        let files = (0..5).map(|number| {
            let file = folder.join(format!("skep-{number}.tar"));
            done(&server.cli(&["backup", file.to_str().unwrap()]));
            file
        });
        let files = files.collect();
        end.store(true, std::sync::atomic::Ordering::Relaxed);
        files
    });
    let before = stacks(&server, None);
    let admin = fs::read_to_string(data.join("admin.token")).unwrap();
    server.stop();

    let key = data.join("seal.key");
    for (number, file) in files.iter().enumerate() {
        done(&cli(&data, &["check", file.to_str().unwrap()]));
        let bytes = fs::read(file).unwrap();
        let key_text = fs::read_to_string(&key).unwrap();
        for hidden in [SECRET, key_text.trim(), admin.trim()] {
            assert!(!bytes.windows(hidden.len()).any(|part| part == hidden.as_bytes()), "a secret is in the backup");
        }
        let again = folder.path().join(format!("again-{number}"));
        done(&cli(&again, &["restore", file.to_str().unwrap(), "--key", key.to_str().unwrap()]));
        done(&cli(&again, &["check"]));
        let restored = Server::start(&again);
        let found = stacks(&restored, Some(&token));
        assert_eq!(found.get("shop"), before.get("shop"));
        assert_eq!(found.get("large"), before.get("large"));
        // The two were written in one transaction: both, or neither.
        assert_eq!(found.get("busy"), found.get("busy-too"), "{found:?}");
        refused(&restored.cli(&["get", "stacks", "--token", admin.trim()]), 4, "does not know this token");
        apply(&restored, folder.path(), &stack("new", 3));
        restored.stop();
        done(&cli(&again, &["check"]));
    }
}

#[test]
fn only_an_admin_takes_a_backup_and_no_file_is_overwritten() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(&folder.path().join("data"));
    let file = folder.path().join("skep.tar");
    let file = file.to_str().unwrap();
    let token = done(&server.cli(&["token", "create", "op", "--role", "operator"])).trim().to_owned();
    refused(&server.cli(&["backup", file, "--token", &token]), 4, "may not");
    refused(&server.cli(&["backup", file, "--token", "nobody"]), 4, "does not know this token");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half written is left");
    done(&server.cli(&["backup", file]));
    let taken = fs::read(file).unwrap();
    refused(&server.cli(&["backup", file]), 1, "is there already");
    assert_eq!(fs::read(file).unwrap(), taken);
    // Of a folder that is in use nothing is read but by its server.
    refused(&server.cli(&["backup", "--offline", &format!("{file}.2")]), 1, "leave --offline out");
    refused(&server.cli(&["check"]), 1, "in use by another process");
}

#[test]
fn what_cannot_be_trusted_is_not_restored_and_the_folder_stays_as_it_was() {
    let folder = TempDir::new().unwrap();
    let (data, file) = backed_up(folder.path());
    let key = data.join("seal.key");
    let (key, whole) = (key.to_str().unwrap(), fs::read(&file).unwrap());
    let target = folder.path().join("target");
    let bad = folder.path().join("bad.tar");
    let restore = |bytes: &[u8]| {
        fs::write(&bad, bytes).unwrap();
        cli(&target, &["restore", bad.to_str().unwrap(), "--key", key])
    };
    // Cut short anywhere, but for the zeros that a tar ends with.
    let end = whole.len() - 1024 - 512;
    for cut in (0..20).map(|part| end * part / 20).chain([end - 1]) {
        refused(&restore(&whole[..cut]), 1, "no backup that can be restored");
        assert_eq!(contents(&target), BTreeMap::new(), "cut at {cut}");
    }
    // Changed where the records and files are.
    for part in 1..10 {
        let mut changed = whole.clone();
        changed[512 * 4 + (end - 512 * 6) * part / 10] ^= 0x10;
        let output = restore(&changed);
        assert_eq!(output.status.code(), Some(1), "changed part {part}");
        assert_eq!(contents(&target), BTreeMap::new());
        refused(&cli(&data, &["check", bad.to_str().unwrap()]), 1, "no backup");
    }
    // The key of another.
    let other = folder.path().join("other.key");
    drop(skep::seal::KeyFile::create(&other).unwrap());
    refused(
        &cli(&target, &["restore", file.to_str().unwrap(), "--key", other.to_str().unwrap()]),
        1,
        "the key file does not open",
    );
    assert_eq!(contents(&target), BTreeMap::new());
    // A folder that holds something.
    fs::write(target.join("note"), "mine").unwrap();
    refused(&cli(&target, &["restore", file.to_str().unwrap(), "--key", key]), 1, "is not empty");
    assert_eq!(contents(&target).len(), 1);
}

#[test]
fn a_check_finds_what_is_wrong_and_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let (data, _) = backed_up(folder.path());
    let before = contents(&data);
    let found: Value = serde_json::from_str(&done(&cli(&data, &["check", "-o", "json"]))).unwrap();
    assert!(found["records"].as_u64().unwrap() > 5 && found["files"].as_u64().unwrap() >= 1, "{found}");
    assert_eq!(found["faults"], serde_json::json!([]));
    assert_eq!(contents(&data), before);

    refused(&cli(&folder.path().join("nowhere"), &["check"]), 3, "no data folder of Skep");
    // Without its key nothing that is sealed opens.
    fs::rename(data.join("seal.key"), folder.path().join("seal.key")).unwrap();
    refused(&cli(&data, &["check"]), 1, "seal.key` is missing");
    drop(skep::seal::KeyFile::create(&data.join("seal.key")).unwrap());
    refused(&cli(&data, &["check"]), 1, "the key file does not open");
    fs::rename(folder.path().join("seal.key"), data.join("seal.key")).unwrap();
    // A kept file that changed.
    let kept = before.keys().find(|path| path.starts_with("files")).unwrap();
    fs::write(data.join(kept), "other").unwrap();
    refused(&cli(&data, &["check"]), 1, "is not what its name says");
    fs::write(data.join(kept), &before[kept]).unwrap();
    // A restore that broke off.
    fs::write(data.join("restoring"), "").unwrap();
    refused(&cli(&data, &["check"]), 1, "a restore into it broke off");
    refused(&cli(&data, &["serve", "--listen", "127.0.0.1:0"]), 1, "a restore into it broke off");
    fs::remove_file(data.join("restoring")).unwrap();
    done(&cli(&data, &["check"]));
    assert_eq!(contents(&data), before);
}

/// What is kept of each released format: archives of a data folder as the version that had it left it, with its key, and of a
/// backup. Beside each is what that version said of it: tests/formats/make.sh makes both.
struct Kept {
    _folder: TempDir,
    data: PathBuf,
    backup: PathBuf,
    said: Value,
}

impl Kept {
    /// All of them, each unpacked afresh.
    fn all() -> Vec<Self> {
        let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats");
        let mut found = Vec::new();
        for format in fs::read_dir(formats).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_dir()) {
            for archive in fs::read_dir(format).unwrap().map(|it| it.unwrap().path()) {
                let Some(name) = archive.to_str().unwrap().strip_suffix(".tar.gz") else { continue };
                let folder = TempDir::new().unwrap();
                let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(folder.path()).status();
                assert!(unpacked.unwrap().success());
                let said = fs::read(format!("{name}.json")).unwrap();
                found.push(Self {
                    data: folder.path().join("data"),
                    backup: folder.path().join("backup.tar"),
                    said: serde_json::from_slice(&said).unwrap(),
                    _folder: folder,
                });
            }
        }
        assert!(found.len() > 1, "there is no format to look at");
        found
    }

    fn text(&self, name: &str) -> &str {
        self.said[name].as_str().unwrap()
    }
}

/// All that is in what was said is in what is found; there may be more members.
fn agree(said: &Value, found: &Value, place: &str) {
    match (said, found) {
        (Value::Object(said), _) => {
            said.iter().for_each(|(name, said)| agree(said, &found[name.as_str()], &format!("{place}.{name}")));
        }
        (Value::Array(said), Value::Array(all)) => {
            assert_eq!(said.len(), all.len(), "{place}: {said:#?} {all:#?}");
            said.iter()
                .zip(all)
                .enumerate()
                .for_each(|(at, (said, found))| agree(said, found, &format!("{place}[{at}]")));
        }
        _ => assert_eq!(said, found, "{place}"),
    }
}

/// What a list of the command line holds of each thing that was said, by the member that names it.
fn listed(server: &Server, arguments: &[&str], said: &Value, by: &str) -> Value {
    let mut all = arguments.to_vec();
    all.extend(["-o", "json"]);
    let found: Vec<Value> = serde_json::from_str(&done(&server.cli(&all))).unwrap();
    let said = said.as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |said: &Value| found.iter().find(|it| it[by] == said[by]).cloned().unwrap_or_default();
    said.iter().map(of).collect()
}

#[test]
fn the_store_of_every_format_opens_in_this_version() {
    for kept in Kept::all() {
        let folder = TempDir::new().unwrap();
        let key = kept.data.join("seal.key");
        done(&cli(&kept.data, &["check"]));
        let again = folder.path().join("again");
        done(&cli(&again, &["restore", kept.backup.to_str().unwrap(), "--key", key.to_str().unwrap()]));
        for data in [&kept.data, &again] {
            let server = Server::start(data);
            let said = &kept.said;
            let mut stacks = vec!["get", "stacks"];
            // The one that was made by hand; the folder's own was made anew by the restore.
            if let Some(reader) = said["reader"].as_str() {
                stacks.extend(["--token", reader]);
            }
            for (what, arguments, by) in [
                ("stacks", stacks.as_slice(), "name"),
                ("deployments", &["get", "deployments", "--limit", "200"], "id"),
                ("hooks", &["hook", "list"], "name"),
                ("notifiers", &["get", "notifiers"], "name"),
                ("catalogs", &["catalog", "list"], "name"),
                ("credentials", &["credential", "list"], "name"),
                ("tokens", &["token", "list"], "name"),
            ] {
                if !said[what].is_null() {
                    agree(&said[what], &listed(&server, arguments, &said[what], by), what);
                }
            }
            // And it goes on from there.
            let generation = stacks_of(said)["shop"];
            apply(&server, folder.path(), &stack("shop", 11));
            assert_eq!(self::stacks(&server, None)["shop"], generation + 1);
            server.stop();
            done(&cli(data, &["check"]));
        }
    }
}

fn stacks_of(said: &Value) -> BTreeMap<String, u64> {
    let pair = |it: &Value| (it["name"].as_str().unwrap().to_owned(), it["generation"].as_u64().unwrap());
    said["stacks"].as_array().unwrap().iter().map(pair).collect()
}

/// The records themselves, before anybody works on them: what stands half-way is not as it was once a server has looked.
#[test]
fn the_records_of_every_format_say_what_they_said_and_there_is_one_of_every_kind() {
    let mut kinds = BTreeSet::new();
    for kept in Kept::all() {
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&kept.data).unwrap());
        for entry in store.scan(&Scan::all("")).unwrap() {
            let kind = format!("{:?}", RecordKey::parse(&entry.key));
            kinds.insert(kind.split('(').next().unwrap().to_owned());
        }
        let ledger = Ledger::new(store);
        let mut phases = serde_json::Map::new();
        for found in ledger.stacks(None).unwrap() {
            let status = ledger.status(&found.value.key).unwrap().map(|found| found.value).unwrap_or_default();
            let word = serde_json::to_value(phase(&found.value, &status)).unwrap();
            phases.insert(found.value.key.name.to_string(), word);
        }
        if !kept.said["phases"].is_null() {
            agree(&kept.said["phases"], &Value::Object(phases), "phases");
        }
        for (id, phase) in kept.said["attempts"].as_object().into_iter().flatten() {
            let found = ledger.deployment(&DeploymentId(id.clone())).unwrap().unwrap().value;
            assert_eq!(serde_json::to_value(found.phase).unwrap(), *phase, "{id}");
        }
    }
    // The kinds there are, as the code names them. A new one is kept by a new archive.
    let code = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/record.rs")).unwrap();
    let variants = code.split("pub enum RecordKey {").nth(1).unwrap().split("\n}").next().unwrap();
    let variants = variants.lines().map(str::trim).filter(|line| line.starts_with(char::is_uppercase));
    let name = |line: &str| line.split(['(', ',']).next().unwrap().to_owned();
    let variants: BTreeSet<String> = variants.map(name).filter(|name| name != "Other").collect();
    assert!(variants.len() > 20, "{variants:?}");
    assert_eq!(kinds, variants, "what there is in an archive of tests/formats, and what there is");
}

/// A request to a hook that is signed with this secret; the status of its answer.
fn send(server: &Server, hook: &str, headers: [&str; 3], secret: &str, payload: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(payload.as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let [signature, delivery, event] = headers;
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", payload]);
    for header in [format!("{signature}: sha256={hex}"), delivery.to_owned(), event.to_owned()] {
        curl.args(["-H", &header]);
    }
    curl.args(["-H", "content-type: application/json", &format!("{}/hooks/{hook}", server.address)]);
    String::from_utf8(curl.output().unwrap().stdout).unwrap()
}

/// What is sealed in the folder of a format is of use: hooks know their senders, kept output is read, kept versions come back.
#[test]
fn what_every_format_kept_is_opened_and_brought_back() {
    for kept in Kept::all().into_iter().filter(|kept| kept.said["logs"].is_object()) {
        let server = Server::start(&kept.data);
        let said = &kept.said;
        // Both forms in which a hook's secret is kept; and a delivery of before is remembered.
        let own = ["x-skep-signature-256", "x-skep-delivery: delivery-1", "x-skep-event: push"];
        let (secret, payload) = (kept.text("secret"), kept.text("payload"));
        assert_eq!(send(&server, "push", own, secret, payload), "409");
        assert_eq!(send(&server, "push", own, "another", payload), "401");
        let github = ["x-hub-signature-256", "x-github-delivery: delivery-2", "x-github-event: push"];
        assert_eq!(send(&server, "own", github, "another", payload), "401");
        assert_eq!(send(&server, "own", github, secret, payload), "202");
        let deliveries = listed(&server, &["hook", "deliveries", "push"], &said["deliveries"], "id");
        agree(&said["deliveries"], &deliveries, "deliveries");
        // What it held is opened to be done again: it says what is asked for already.
        let id = said["deliveries"][0]["id"].as_str().unwrap();
        assert!(done(&server.cli(&["hook", "redeliver", "push", id])).contains("shop"));

        for (id, text) in said["logs"].as_object().unwrap() {
            let deployments = said["deployments"].as_array().unwrap();
            let of = deployments.iter().find(|it| it["id"] == id.as_str()).unwrap()["stack"].as_str().unwrap();
            let written = done(&server.cli(&["logs", of, "--deployment", id]));
            for line in text.as_str().unwrap().lines() {
                assert!(written.lines().any(|it| it == line), "{line} is not in {written}");
            }
        }

        // The version before the one that runs, and the holds that people have put on stacks.
        done(&server.cli(&["rollback", "shop", "--reason", "once more"]));
        let found: Value =
            serde_json::from_str(&done(&server.cli(&["get", "deployments", "shop", "-o", "json"]))).unwrap();
        assert_eq!(found[0]["trigger"], "Rollback", "{found:#}");
        assert_eq!(found[0]["revision"], said["commits"][1], "{found:#}");
        done(&server.cli(&["unpin", "wiki"]));
        done(&server.cli(&["release-hold", "blog"]));
        done(&server.cli(&["resume", "till"]));
        for (name, member) in [("wiki", "pin"), ("till", "suspension"), ("blog", "held")] {
            let stack: Value = serde_json::from_str(&done(&server.cli(&["get", "stack", name, "-o", "json"]))).unwrap();
            assert!(stack[member] == json!(null) || stack[member] == json!([]), "{stack:#}");
        }
        server.stop();
        done(&cli(&kept.data, &["check"]));
    }
}
