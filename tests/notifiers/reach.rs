//! Receivers that are not there, or behind an authority of their own.

use std::fs;
use std::net::TcpListener;

use serde_json::json;
use tempfile::TempDir;

use crate::git_http::{GitServer, Repo};
use crate::receiver::Receiver;
use crate::server::{BAD, SECRET, Server, stack};
use crate::tls_front::{Authority, TlsFront};

const KEY: &str = "kind: Credential\nname: key\ntype: Opaque\ndata: { secret: { fromEnv: SECRET } }\n";

#[test]
fn a_receiver_that_was_dead_gets_what_it_missed_in_order_and_once() {
    let folder = TempDir::new().unwrap();
    let repo = Repo::create(folder.path(), "team/shop");
    let mut commits = vec![repo.commit("main", &[("docker-stack.yml", BAD)])];
    let git = GitServer::start(folder.path());
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let server = Server::start(&folder.path().join("skep-data"), &["--allow-private-addresses"]);
    server.apply(&format!(
        "{KEY}---\nkind: Notifier\nname: hook\ntype: Webhook\nurl: http://{address}/hook\ncredential: key\n"
    ));
    server.apply(&stack(&git.base()));
    server.notifier("hook", |it| it["status"]["attempts"].as_u64() >= Some(1));
    for word in ["imagge", "imageee"] {
        commits.push(repo.commit("main", &[("docker-stack.yml", &BAD.replace("imagee", word))]));
        server.done(&["reconcile", "shop"]);
        server.notifier("hook", |it| it["status"]["pending"] == commits.len());
    }
    let waiting = server.notifier("hook", |_| true);
    assert!(waiting["status"]["lastError"].as_str().unwrap().contains("no connection"), "{waiting}");

    let receiver = Receiver::at(&address);
    receiver.wait("/hook", commits.len());
    let told = server.notifier("hook", |it| it["status"]["pending"] == 0);
    assert_eq!((&told["status"]["delivered"], &told["status"]["givenUp"]), (&json!(3), &json!(0)));
    let came = receiver.all();
    let revisions: Vec<_> = came.iter().map(|got| got.json()["revision"].as_str().unwrap().to_owned()).collect();
    assert_eq!(revisions, commits, "in order, and once");
    assert!(came.iter().all(|got| got.is_signed_with(SECRET)));
}

#[test]
fn a_receiver_behind_an_authority_of_its_own_is_reached_by_those_who_name_it() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let (own, other) = (Authority::fresh(), Authority::fresh());
    let front = TlsFront::start(&own, &format!("http://{}", receiver.address));
    let server = Server::start(&folder.path().join("skep-data"), &["--allow-private-addresses"]);
    for (name, authority) in [("own", Some(&own)), ("other", Some(&other)), ("none", None)] {
        let ca = authority.map(|authority| {
            let file = folder.path().join(format!("{name}.pem"));
            fs::write(&file, authority.pem()).unwrap();
            format!(", ca: {{ fromFile: {:?} }}", file.display().to_string())
        });
        let ca = ca.unwrap_or_default();
        server.apply(&format!(
            "kind: Credential\nname: {name}\ntype: Opaque\ndata: {{ secret: {{ fromEnv: SECRET }}{ca} }}\n---\n\
             kind: Notifier\nname: {name}\ntype: Webhook\nurl: {}/{name}\ncredential: {name}\n",
            front.base()
        ));
    }
    server.done(&["notifier", "test", "own"]);
    for stranger in ["other", "none"] {
        let (code, said) = server.run(&["notifier", "test", stranger]);
        assert_eq!((code, said.contains("certificate")), (1, true), "{said}");
    }
    let came = receiver.all();
    assert_eq!(came.iter().map(|got| got.path.as_str()).collect::<Vec<_>>(), ["/own"]);
    assert!(came[0].is_signed_with(SECRET));
}
