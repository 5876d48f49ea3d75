//! What a terminal shows: colour for each stream, the screen of `watch`, and captures of a deployment, against a simulated
//! Swarm.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use super::tty::Terminal;

/// A server on a simulated Swarm; it ends with the test.
struct Simulated {
    child: Child,
    address: String,
    token: String,
}

impl Simulated {
    fn start(stacks: u32) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
            .args(["simulate", "--serve", "127.0.0.1:0", "--changes", "0", "--stacks", &stacks.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let token = lines.find_map(|line| line.strip_prefix("token: ").map(str::to_owned)).unwrap();
        let address = lines.find_map(|line| line.strip_prefix("skep: listening on ").map(str::to_owned)).unwrap();
        thread::spawn(move || lines.for_each(drop));
        let server = Self { child, address, token };
        server.must("wait stack-0001");
        server
    }

    fn terminal(&self, line: &str) -> Terminal {
        Terminal::run(&self.address, &self.token, line)
    }

    fn must(&self, line: &str) -> String {
        let mut skep = Command::new(env!("CARGO_BIN_EXE_skep"));
        skep.args(line.split(' ')).env("SKEP_SERVER", &self.address).env("SKEP_TOKEN", &self.token);
        let ran = skep.output().unwrap();
        assert!(ran.status.success(), "{line}: {ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a text holds colours; movements are none.
fn coloured(text: &str) -> bool {
    text.split('\x1b')
        .skip(1)
        .any(|rest| rest.find(|c: char| c.is_ascii_alphabetic()).is_some_and(|at| rest[at..].starts_with('m')))
}

#[test]
fn each_stream_has_colour_where_a_terminal_shows_it_and_not_where_it_is_not_wanted() {
    let server = Simulated::start(1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said");
    let name = file.display();
    let deploy = |version: &str| format!("deploy stack-0001 --image web={version} --wait");
    // Results into a file: the progress on the terminal keeps its colours, the file has none.
    let (code, raw, _) = server.terminal(&format!("{} > {name}", deploy("2"))).end();
    let said = fs::read_to_string(&file).unwrap();
    assert_eq!(code, Some(0), "{raw}");
    assert!(coloured(&raw), "{raw:?}");
    assert!(said.starts_with("stack-0001 converged on ") && !said.contains('\x1b'), "{said:?}");
    // And the other way round.
    let (code, raw, _) = server.terminal(&format!("{} 2> {name}", deploy("3"))).end();
    let said = fs::read_to_string(&file).unwrap();
    assert_eq!(code, Some(0), "{raw}");
    assert!(raw.contains("\x1b[32mconverged\x1b[0m"), "{raw:?}");
    assert!(said.contains("stack-0001 Verifying") && !said.contains('\x1b'), "{said:?}");
    // Nobody wants it; somebody wants it in any case.
    let off = Terminal::with(&server.address, &server.token, &[("NO_COLOR", "1")], &deploy("4"));
    let (code, raw, text) = off.end();
    assert!(code == Some(0) && text.contains("stack-0001 converged on ") && !coloured(&raw), "{raw:?}");
    let (_, raw, _) = server.terminal("get stacks --color never").end();
    assert!(!raw.contains('\x1b'), "{raw:?}");
    server.terminal(&format!("get stacks --color always > {name}")).end();
    assert!(coloured(&fs::read_to_string(&file).unwrap()));
}
