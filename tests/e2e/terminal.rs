//! What a person at a terminal sees: the command line on a terminal of its own (`script` makes it), with keys pressed.

use std::process::Command;

use serde_json::json;

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
    let terminal = on_terminal(&subject.hive, &format!("deploy {name} --image web=2 --wait"));
    let (code, raw, text) = terminal.end();
    assert_eq!(code, Some(0), "{text}");
    assert!(raw.contains("\x1b[J"), "it draws over what it drew: {raw:?}");
    assert!(text.contains("###") && text.contains("web "), "{text}");
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
    fleet.until(&format!("{name}  "), 60);
    fleet.until("Ctrl-C ends", 10);
    one.until(&format!("{name} (default)  Converged"), 60);
    one.until("CONDITION", 10);
    subject.act("suspendStack", json!({ "reason": "moving house" })).await;
    fleet.until("Suspended", 60);
    one.until("Suspended", 60);
    one.until("moving house", 10);
    for mut terminal in [fleet, one] {
        terminal.press("\x03");
        let (code, raw, _) = terminal.end();
        assert_eq!(code, Some(130), "{raw:?}");
        assert!(raw.contains("\x1b[H"), "it draws in place");
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
