//! `skep doctor` by the binary: what is well, what is not, and what to mend; with a server and without one.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests: what fails here fails the test")]

#[path = "support/fake_engine.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod fake_engine;

use std::path::Path;
use std::process::{Output, Stdio};

use fake_engine::{FakeEngine, Say};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const SKEP: &str = env!("CARGO_BIN_EXE_skep");

/// A server, which ends when dropped.
async fn serve(data: &Path, engine: &str) -> (Child, String) {
    let mut child = Command::new(SKEP)
        .args(["serve", "--listen", "127.0.0.1:0", "--log", "error", "--allow-private-addresses", "--docker", engine])
        .arg("--data")
        .arg(data)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("it ended");
        if let Some(address) = line.strip_prefix("skep: listening on ") {
            return (child, address.to_owned());
        }
    }
}

async fn cli(data: &Path, server: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(SKEP);
    command.args(["--server", server, "--data"]).arg(data).args(arguments);
    command.env_remove("SKEP_TOKEN").env("DOCKER_HOST", "unix:///nothing/docker.sock").output().await.unwrap()
}

/// What it finds: `Area subject` to health, with the mend.
async fn findings(data: &Path, server: &str, code: i32) -> Vec<(String, String, Value)> {
    let output = cli(data, server, &["doctor", "-o", "json"]).await;
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    found
        .iter()
        .map(|it| {
            assert_eq!(text(it, "health") == "Good", it["mend"].is_null(), "what is not well has a mend: {it}");
            (format!("{} {}", text(it, "area"), text(it, "subject")), text(it, "health"), it["mend"].clone())
        })
        .collect()
}

fn health<'a>(found: &'a [(String, String, Value)], what: &str) -> &'a str {
    found.iter().find(|it| it.0 == what).map_or("not looked at", |it| it.1.as_str())
}

#[tokio::test]
async fn it_tells_what_does_not_work_and_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (_server, address) = serve(&data, "unix:///nothing/docker.sock").await;
    let file = folder.path().join("shop.yml");
    // Nobody listens there.
    let manifest =
        "kind: Stack\nname: shop\nsource: { git: 'http://127.0.0.1:1/shop.git', ref: main }\ncompose: [a.yml]\n";
    std::fs::write(&file, manifest).unwrap();
    let applied = cli(&data, &address, &["apply", "-f", file.to_str().unwrap()]).await;
    assert!(applied.status.success(), "{applied:?}");

    let found = findings(&data, &address, 1).await;
    assert_eq!(health(&found, &format!("Server {address}")), "Good");
    assert_eq!(health(&found, "Store records"), "Good");
    assert_ne!(health(&found, "Disk data folder"), "not looked at");
    assert_eq!(health(&found, "Engine default"), "Bad");
    assert_eq!(health(&found, "Git http://127.0.0.1:1/shop.git"), "Bad");
    let table = cli(&data, &address, &["doctor"]).await;
    assert!(String::from_utf8_lossy(&table.stdout).contains("mend: see that the engine runs"), "{table:?}");

    let made = cli(&data, &address, &["token", "create", "op", "--role", "operator"]).await;
    let token = String::from_utf8(made.stdout).unwrap();
    let refused = cli(&data, &address, &["doctor", "--token", token.trim()]).await;
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
}

#[tokio::test]
async fn an_engine_that_answers_is_well_and_a_claim_of_another_is_not() {
    let claim = r#"[{"ID":"c1","Version":{"Index":7},"CreatedAt":"2026-01-01T00:00:00Z","UpdatedAt":"2026-01-01T00:00:00Z",
        "Spec":{"Name":"skep-claim-3","Labels":{"dev.skep.claim":"3","dev.skep.instance":"someone"},"Data":"eA=="}}]"#;
    let engine = FakeEngine::manager(move |asked| match asked {
        asked if asked.starts_with("GET /v1.41/configs") => Say::Answer(200, claim.to_owned()),
        asked if asked.starts_with("GET /v1.41/events") => {
            Say::Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        }
        asked if asked.contains("_ping") => {
            Say::Raw("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nOK")
        }
        _ => Say::Answer(200, "[]".to_owned()),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (_server, address) = serve(folder.path(), &engine.endpoint).await;
    // Until it has read the Swarm it can tell nothing of the claim.
    let mut found = findings_of_any(folder.path(), &address).await;
    while health(&found, "Claim default") == "Doubtful" {
        found = findings_of_any(folder.path(), &address).await;
    }
    assert_eq!(health(&found, "Engine default"), "Good");
    assert_eq!(health(&found, "Claim default"), "Bad");
    assert_eq!(health(&found, "Clock default"), "Doubtful", "its clock stands at New Year");
    assert!(!engine.asked().iter().any(|asked| asked.starts_with("POST")), "{:?}", engine.asked());
}

async fn findings_of_any(data: &Path, server: &str) -> Vec<(String, String, Value)> {
    let output = cli(data, server, &["doctor", "-o", "json"]).await;
    findings(data, server, output.status.code().unwrap()).await
}

#[tokio::test]
async fn without_a_server_it_looks_at_the_folder_and_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (mut server, address) = serve(&data, "unix:///nothing/docker.sock").await;
    server.kill().await.unwrap();
    let found = findings(&data, &address, 1).await;
    assert_eq!(health(&found, &format!("Server {address}")), "Bad");
    assert_eq!(health(&found, &format!("Store {}", data.display())), "Good");
    assert_eq!(health(&found, "Engine unix:///nothing/docker.sock"), "Bad");
    // The key is gone, and others can look in.
    std::fs::remove_file(data.join("seal.key")).unwrap();
    let found = findings(&data, &address, 1).await;
    assert_eq!(health(&found, &format!("Store {}", data.join("seal.key").display())), "Bad");
}
