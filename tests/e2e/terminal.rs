//! What a person at a terminal sees: the command line on a terminal of its own (`script` makes it), with keys pressed.

use std::process::Command;

use crate::support::hive::{Hive, Stay};
use crate::support::stack::Subject;
use crate::support::watch::Watch;
use crate::tty::Terminal;

/// A command on a terminal, against this server.
fn on_terminal(hive: &Hive, line: &str) -> Terminal {
    Terminal::run(&format!("http://{}", hive.address), &hive.token(), line)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_drawn_as_it_goes_and_a_key_leaves_it_going() {
    let subject = Subject::running(Stay::together().await, "tty").await;
    let name = subject.name.clone();

    // Drawn over, in colour, with a bar for each service; in the end one line of what came of it.
    let mut terminal = on_terminal(&subject.hive, &format!("deploy {name} --image web=2 --wait"));
    terminal.wait("a bar of the service", 60, |it| {
        it.screen().lines().any(|line| line.starts_with("  web ") && line.contains("####"))
    });
    let screen = terminal.screen();
    assert!(screen.starts_with(&format!("{name} (default)  ")), "nothing else stands there: {screen}");
    terminal.drain();
    let screen = terminal.screen();
    assert!(screen.starts_with(&format!("{name} converged on ")) && screen.trim_end().lines().count() == 1, "{screen}");
    let (code, raw, text) = terminal.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(raw.contains("\x1b[J"), "it draws over what it drew: {raw:?}");
    assert!(raw.contains(&format!("{name} \x1b[32mconverged\x1b[0m on ")), "{raw:?}");

    // Rolled back is loud.
    let (code, raw, text) = on_terminal(&subject.hive, &format!("deploy {name} --image web=broken --wait")).end();
    assert_eq!(code, Some(11), "{text}");
    assert!(raw.contains("\x1b[31mfailed\x1b[0m") && raw.contains("\x1b[31mwas rolled back\x1b[0m"), "{raw:?}");
    for part in
        ["  why   HealthCheck: service web", "  now   ", " runs again, the whole stack", "  next  deploy a mended"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }

    // Ctrl-C stops the waiting, not the deployment, and says how to go on.
    let mut terminal = on_terminal(&subject.hive, &format!("deploy {name} --image web=3 --wait"));
    terminal.until("web ", 60);
    terminal.press("\x03");
    let (code, _, text) = terminal.end();
    assert_eq!(code, Some(130), "{text}");
    let id = subject.client.deployments(&name).await[0]["deploymentId"].as_str().unwrap().to_owned();
    assert!(text.contains(&format!("next  follow on: `skep wait {name} {id}`")), "{text}");
    Watch::deployment(&subject.client, &id).until_phase("Converged", 120).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_and_one_stack_are_watched() {
    let subject = Subject::running(Stay::together().await, "board").await;
    let name = subject.name.clone();
    let mut fleet = on_terminal(&subject.hive, "watch");
    let mut one = on_terminal(&subject.hive, &format!("watch {name}"));
    fleet.shows(&name, 60);
    fleet.shows("q ends", 10);
    one.shows(&format!("{name} (default)"), 60);
    one.shows("CONDITIONS", 20);
    // The new version and its tasks come by themselves, and so does what stopped it.
    let deployed = subject.hive.cli(&["deploy", &name, "--image", "web=broken"]);
    assert!(deployed.status.success(), "{deployed:?}");
    fleet.wait("its way back in the fleet", 120, |it| {
        let screen = it.screen();
        screen.lines().any(|line| line.contains(&name) && line.contains("RolledBack"))
    });
    one.shows("RolledBack", 60);
    one.resize(100, 60);
    one.shows("why   HealthCheck", 20);
    one.shows("DEPLOYMENT  ", 10);
    // Found and opened by keys, on a small screen, and left again.
    fleet.resize(40, 12);
    fleet.press(&format!("/{name}\r"));
    fleet.shows("1 to 1 of 1", 20);
    fleet.press("\r");
    fleet.shows("q back", 20);
    fleet.press("q");
    fleet.shows("1 to 1 of 1", 20);
    fleet.press("q");
    one.press("\x03");
    for (mut terminal, code) in [(fleet, 0), (one, 130)] {
        terminal.drain();
        assert!(!terminal.glass().screen().alternate_screen() && !terminal.glass().screen().hide_cursor());
        assert_eq!(terminal.screen().trim(), "", "the usual screen is back, and nothing is left on it");
        let (ended, raw, _) = terminal.end();
        assert_eq!(ended, Some(code), "{raw:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_offers_what_converged() {
    let subject = Subject::running(Stay::together().await, "pick").await;
    let name = subject.name.clone();
    let deployed = subject.hive.cli(&["deploy", &name, "--image", "web=2", "--reason", "the second", "--wait"]);
    assert_eq!(deployed.status.code(), Some(0), "{deployed:?}");
    let mut terminal = on_terminal(&subject.hive, &format!("rollback {name} --wait"));
    terminal.until("or nothing to leave it:", 60);
    terminal.press("1\r");
    let (code, _, text) = terminal.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Which version shall come back?") && text.contains("converged"), "{text}");
    subject.assert_runs("1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shell_is_told_the_names_of_stacks() {
    let subject = Subject::running(Stay::together().await, "shell").await;
    let complete = |words: &[&str]| {
        // As the script that `skep completions bash` prints asks.
        let output = Command::new(env!("CARGO_BIN_EXE_skep"))
            .arg("--")
            .args(words)
            .env("COMPLETE", "bash")
            .env("_CLAP_IFS", "\n")
            .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
            .env("_CLAP_COMPLETE_COMP_TYPE", "9")
            .env("_CLAP_COMPLETE_SPACE", "true")
            .env("SKEP_SERVER", format!("http://{}", subject.hive.address))
            .env("SKEP_TOKEN", subject.hive.token())
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let some = &subject.name[..subject.name.len() - 1];
    for command in ["deploy", "rollback", "watch", "logs", "diff"] {
        let found = complete(&["skep", command, some]);
        assert!(found.lines().any(|line| line == subject.name), "{command}: {found}");
    }
    assert!(complete(&["skep", "-e", "def"]).contains("default"));
    assert_eq!(complete(&["skep", "-e", "elsewhere", "deploy", some]).trim(), "");
}
