//! What a terminal shows: colour for each stream, the screen of `watch`, and captures of a deployment, against a simulated
//! Swarm.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
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

/// Ids, times and spans differ from one run to the next.
fn masked(text: &str) -> String {
    let id = regex::Regex::new(r"01[0-9a-z]{24}").unwrap();
    let time = regex::Regex::new(r"\d{4}-\d{2}-\d{2}T[0-9:.]+Z").unwrap();
    let span = regex::Regex::new(r"\b\d+(\.\d+)?(ms|m\d\ds|s|m|h)\b").unwrap();
    let text = id.replace_all(text, "ID");
    let text = time.replace_all(&text, "TIME");
    span.replace_all(&text, "AGE").trim_end().to_owned()
}

/// Reads to the end; gives the exit code, and what stands on the screen then.
fn left(mut terminal: Terminal) -> (Option<i32>, String, String) {
    terminal.drain();
    let screen = masked(&terminal.screen());
    let (code, raw, _) = terminal.end();
    (code, screen, raw)
}

#[test]
fn a_deployment_that_is_waited_for_leaves_its_verdict_on_the_screen() {
    let server = Simulated::start(1);
    let (code, screen, raw) = left(server.terminal("deploy stack-0001 --image web=2 --wait"));
    assert_eq!(code, Some(0), "{raw}");
    assert_eq!(screen, "stack-0001 converged on web=app:2 worker=worker:1 in AGE (ID)");
    let (code, screen, raw) = left(server.terminal("deploy stack-0001 --image web=broken --wait"));
    assert_eq!(code, Some(11), "{raw}");
    insta::assert_snapshot!(screen.replace(&server.address, "SERVER"));
}

#[test]
fn the_fleet_is_watched_with_keys_and_the_terminal_is_left_as_it_was() {
    let server = Simulated::start(60);
    let line = "stty -g | cksum; $SKEP watch; echo ended with $?; stty -g | cksum";
    let mut terminal = Terminal::shell(&server.address, &server.token, &[], line);
    terminal.shows("60 stacks", 60);
    assert!(terminal.glass().screen().alternate_screen(), "the usual screen is kept");
    assert!(terminal.glass().screen().hide_cursor());
    terminal.shows("1 to 26 of 60", 60);
    // To the end, and every one of them can be reached.
    terminal.press("G");
    terminal.shows("35 to 60 of 60", 10);
    terminal.press("\x1b[H");
    terminal.shows("1 to 26 of 60", 10);
    terminal.press("jj\x1b[B");
    terminal.shows("> stack-0004", 10);
    // Found, opened, read, and back.
    terminal.press("/0042\r");
    terminal.shows("1 to 1 of 1", 10);
    let shown = terminal.screen();
    assert!(shown.contains("> stack-0042") && !shown.contains("stack-0001"), "{shown}");
    terminal.press("\r");
    terminal.shows("SERVICES", 20);
    terminal.shows("new  1  node-", 20);
    terminal.press("G");
    terminal.shows("CONDITIONS", 10);
    terminal.press("g");
    let shown = terminal.screen();
    assert!(shown.starts_with("stack-0042 (default)") && shown.contains("q back"), "{shown}");
    // As small as a phone, and as large again.
    terminal.resize(40, 12);
    terminal.shows("lines 1 to 9 of", 10);
    terminal.press("q");
    terminal.shows("1 to 1 of 1", 10);
    assert!(terminal.screen().lines().all(|line| line.chars().count() <= 40), "{}", terminal.screen());
    terminal.resize(100, 30);
    terminal.press("\x1b");
    terminal.shows("of 60", 10);
    terminal.press("q");
    // The usual screen is back, and the terminal takes lines again.
    terminal.shows("ended with 0", 10);
    terminal.drain();
    let (glass, shown) = (terminal.glass(), terminal.screen());
    assert!(!glass.screen().alternate_screen() && !glass.screen().hide_cursor());
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.len() == 3 && lines[0] == lines[2], "{shown}");
    assert_eq!(terminal.end().0, Some(0));
}

#[test]
fn one_stack_is_watched_until_ctrl_c_or_a_signal() {
    let server = Simulated::start(2);
    let mut terminal = server.terminal("watch stack-0002");
    terminal.shows("stack-0002 (default)", 60);
    terminal.shows("CONDITIONS", 20);
    // What happens meanwhile is on the screen: without a key, and down to the tasks.
    server.must("deploy stack-0002 --image web=2 --wait");
    terminal.shows("app:2", 20);
    terminal.press("\x03");
    let (code, screen, raw) = left(terminal);
    assert_eq!((code, screen.as_str()), (Some(130), ""), "{raw:?}");

    for line in ["watch", "watch stack-0002"] {
        let mut terminal = server.terminal(line);
        terminal.shows("stack-0002", 60);
        assert!(Command::new("kill").arg(terminal.process()).status().unwrap().success());
        let (code, screen, raw) = left(terminal);
        assert_eq!((code, screen.as_str()), (Some(130), ""), "{raw:?}");
        assert!(raw.contains("\x1b[?1049l") && raw.contains("\x1b[?25h"), "{raw:?}");
    }
    // An error is read on the usual screen, with what to type next.
    let (code, screen, _) = left(server.terminal("watch nothing"));
    assert!(code == Some(3) && screen.contains("nothing") && screen.contains("next: "), "{screen}");
}

#[test]
fn a_screen_has_colour_where_it_is_wanted_and_lines_where_it_is_none() {
    let server = Simulated::start(1);
    let colours = |terminal: &mut Terminal| {
        terminal.shows("Converged", 60);
        let glass = terminal.glass();
        let cells = (0..30).flat_map(|row| (0..100).map(move |column| (row, column)));
        let coloured = cells
            .filter_map(|(row, column)| glass.screen().cell(row, column))
            .filter(|cell| cell.fgcolor() != vt100::Color::Default || cell.bold() || cell.dim());
        coloured.count() > 0
    };
    for (variables, line, expected) in [
        (&[][..], "watch", true),
        (&[("NO_COLOR", "1")][..], "watch", false),
        (&[("NO_COLOR", "1")][..], "watch --color always", true),
        (&[][..], "watch --color never stack-0001", false),
    ] {
        let mut terminal = Terminal::with(&server.address, &server.token, variables, line);
        assert_eq!(colours(&mut terminal), expected, "{variables:?} {line}");
        terminal.press("q");
        assert_eq!(terminal.end().0, Some(0));
    }
    // Where nobody can look at a screen, or results are for machines, it is lines.
    for line in ["watch | cat", "watch -o name", "watch -o json", "watch </dev/null"] {
        let mut terminal = server.terminal(line);
        terminal.until("stack-0001", 60);
        terminal.press("\x03");
        let (_, raw, _) = terminal.end();
        assert!(!raw.contains("\x1b[?1049h"), "{line}: {raw:?}");
    }
}

#[test]
fn a_lost_connection_is_said_and_what_was_missed_is_fetched() {
    let server = Simulated::start(1);
    let gate = Gate::before(&server.address);
    let mut terminal = Terminal::run(&gate.address, &server.token, "watch");
    terminal.shows("1 stack: 1 Converged", 60);
    gate.close();
    terminal.shows("! connection lost", 20);
    assert!(terminal.screen().contains("stack-0001"), "what was known stays: {}", terminal.screen());
    server.must("suspend stack-0001 --reason moving");
    gate.open();
    terminal.wait("the connection is back", 30, |it| !it.screen().contains("connection lost"));
    terminal.shows("1 stack: 1 Suspended", 20);
    terminal.press("q");
    assert_eq!(terminal.end().0, Some(0));
}

/// A way to the server that can be closed.
struct Gate {
    address: String,
    closed: Arc<AtomicBool>,
    through: Arc<Mutex<Vec<TcpStream>>>,
}

impl Gate {
    fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let gate = Self { address, closed: Arc::default(), through: Arc::default() };
        let (closed, through) = (Arc::clone(&gate.closed), Arc::clone(&gate.through));
        let server = server.trim_start_matches("http://").to_owned();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if closed.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(&server) else { return };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    through.lock().unwrap().push(from.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ended = io::copy(&mut from, &mut to);
                        let _gone = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        gate
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for stream in self.through.lock().unwrap().drain(..) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }

    fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
    }
}
