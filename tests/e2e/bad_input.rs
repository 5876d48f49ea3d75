//! Input that makes no sense gets an answer that says what, where and how to mend it; nothing is written, and what runs is
//! left alone.

use serde_json::{Value, json};

use crate::support::compose::{Web, compose};
use crate::support::docker;
use crate::support::graphql::{Client, literal};
use crate::support::hive::Stay;
use crate::support::stack::Subject;

async fn refused(client: &Client, manifest: &str) -> Value {
    let errors = client.mutate("applyStack", &json!({ "manifest": manifest })).await.expect_err(manifest);
    errors[0].clone()
}

#[tokio::test]
async fn a_manifest_that_is_wrong_is_refused_with_its_place() {
    let mut subject = Subject::new(Stay::together().await, "wrong");
    let client = subject.client.clone();
    let name = subject.name.clone();

    let unknown = refused(&client, &format!("kind: Stack\nname: {name}\ninline: x\nflavour: sweet\n")).await;
    assert_eq!((unknown["line"].as_u64(), unknown["column"].as_u64()), (Some(4), Some(1)), "{unknown:#}");
    assert!(unknown["message"].as_str().unwrap().contains("flavour"), "{unknown:#}");
    let broken = refused(&client, &format!("kind: Stack\nname: {name}\ninline: [\n")).await;
    assert!(broken["line"].as_u64().is_some(), "{broken:#}");
    let unfit = refused(&client, "kind: Stack\nname: Not_A Name\ninline: x\n").await;
    assert!(unfit["field"].as_str().is_some_and(|field| field.contains("name")), "{unfit:#}");

    assert!(client.stack(&name).await.is_null(), "nothing is written");
    // And then rightly, so that there is a stack to remove.
    subject.push("1", Web::Good);
    subject.apply().await;
    subject.watch.until_phase("Converged", 120).await;
}

#[tokio::test]
async fn a_compose_file_that_is_wrong_leaves_what_runs_alone() {
    let mut subject = Subject::running(Stay::together().await, "render").await;
    let versions = subject.versions();
    let bad = subject
        .push_text(&compose("2", Web::Good).replace("    image: skep-example:1\n", "    imaeg: skep-example:1\n"));
    let deployment = subject.until_deployment_of(&bad).await;
    let id = deployment["deploymentId"].as_str().unwrap();
    let failed = crate::support::watch::Watch::deployment(&subject.client, id).until_phase("Failed", 30).await;
    let said = failed["failure"]["error"].as_str().unwrap();
    assert_eq!(failed["failure"]["class"], "Render");
    assert!(said.contains("imaeg") && said.contains("docker-stack.yml"), "{said}");
    assert_eq!(subject.versions(), versions);
    subject.assert_runs("1");
    let next = subject.push("3", Web::Good);
    subject.until_converged_on(&next).await;
}

#[tokio::test]
async fn a_ref_or_a_repository_that_is_not_there_shows_on_the_stack() {
    let mut subject = Subject::new(Stay::together().await, "noref");
    subject.push("1", Web::Good);
    let manifest = subject.manifest().replace("ref: main", "ref: no-such-branch");
    subject.client.mutate("applyStack", &json!({ "manifest": manifest })).await.unwrap();
    let told = |wanted: &str| {
        let wanted = wanted.to_owned();
        move |it: &Value| {
            let conditions = it["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|it| {
                it["type"] == "SourceReady"
                    && it["status"] == "False"
                    && it["message"].as_str().is_some_and(|message| message.contains(&wanted))
            })
        }
    };
    subject.watch.until("told of the ref", 30, told("no-such-branch")).await;

    let manifest = subject.manifest().replace(&format!("{}.git", subject.name), "nowhere.git");
    subject.client.mutate("applyStack", &json!({ "manifest": manifest })).await.unwrap();
    subject.watch.until("told of the repository", 30, told("nowhere.git")).await;
    assert_eq!(docker::of_stack("service", &subject.name), Vec::<String>::new());
}

#[tokio::test]
async fn without_the_token_nothing_is_told_or_done() {
    let stay = Stay::together().await;
    let stranger = Client::new(&stay.address, "not-the-token");
    let input = literal(&json!({ "manifest": "kind: Stack\nname: stolen\ninline: x\n" }));
    for document in [
        "{ stacks { edges { node { name } } } }",
        &format!("mutation {{ applyStack(input: {input}) {{ stack {{ name }} }} }}"),
    ] {
        let (status, answer) = stranger.ask(document).await;
        assert_eq!(status, 401, "{answer:#}");
        assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
    }
    assert!(stay.client().stack("stolen").await.is_null());
}
