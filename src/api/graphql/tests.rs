//! The schema as a whole.

use async_graphql::Value;

use super::*;

#[test]
fn the_schema_in_the_repository_is_the_one_that_is_served() {
    let kept = include_str!("../../../schema.graphql");
    assert!(kept == sdl(), "schema.graphql is out of date; write it anew with `cargo run -- schema > schema.graphql`");
}

/// Everything the schema names, with whether it is described.
async fn names() -> Vec<(String, bool)> {
    const QUERY: &str = "{ __schema { types {
        name kind description
        fields { name description args { name description } }
        inputFields { name description }
        enumValues { name description }
    } } }";
    let schema = builder().finish();
    let data = schema.execute(QUERY).await.into_result().unwrap().data.into_json().unwrap();
    let mut names = Vec::new();
    for kind in data["__schema"]["types"].as_array().unwrap() {
        let name = kind["name"].as_str().unwrap();
        // The five scalars of the specification are its own.
        if name.starts_with("__") || ["Int", "Float", "String", "Boolean", "ID"].contains(&name) {
            continue;
        }
        let mut note = |path: String, of: &serde_json::Value| {
            let described = of["description"].as_str().is_some_and(|text| text.trim().len() > 3);
            names.push((path, described));
        };
        note(name.to_owned(), kind);
        for (list, inner) in [("fields", true), ("inputFields", false), ("enumValues", false)] {
            for item in kind[list].as_array().into_iter().flatten() {
                let path = format!("{name}.{}", item["name"].as_str().unwrap());
                note(path.clone(), item);
                for argument in item["args"].as_array().into_iter().flatten().filter(|_| inner) {
                    note(format!("{path}({})", argument["name"].as_str().unwrap()), argument);
                }
            }
        }
    }
    names
}

#[tokio::test]
async fn everything_is_described() {
    let names = names().await;
    assert!(names.len() > 300, "only {} names were found", names.len());
    let bare: Vec<&String> = names.iter().filter(|(_, described)| !described).map(|(name, _)| name).collect();
    assert!(bare.is_empty(), "these have no description: {bare:#?}");
}

#[tokio::test]
async fn the_contract_is_there() {
    let names: std::collections::BTreeSet<String> = names().await.into_iter().map(|(name, _)| name).collect();
    let contract = [
        (
            "Mutation",
            "applyStack deployStack rollbackStack unpinStack releaseHold cancelDeployment approveDeployment suspendStack resumeStack reconcileStack deleteStack",
        ),
        ("Query", "stack stacks deployment deployments environment environments events plan node"),
        ("Subscription", "stackChanged stacksChanged deploymentChanged eventAdded"),
        ("StackPayload", "stack deployment userErrors"),
        ("ApplyStackPayload", "stack deployment userErrors"),
        ("UserError", "code message field file line column hint"),
        (
            "Stack",
            "id name environment generation observedGeneration phase reason message conditions desired target live lastGood held pin deploymentId",
        ),
        ("Condition", "type status reason message observedGeneration since"),
        ("DesiredVersion", "ref revision images"),
        ("TargetVersion", "revision images"),
        ("Version", "revision images"),
        ("LastGood", "deploymentId revision"),
        ("HeldVersion", "revision images deploymentId reason since"),
        (
            "Deployment",
            "id stack environment generation trigger phase verdict reason message failure revision images actor originalRequest mappedRequest rollbackOf rolledBackBy createdAt finishedAt",
        ),
        ("Failure", "class service slot node error exitCode logTail"),
        ("Image", "service image digest"),
        ("Event", "sequence time environment stack deploymentId type reason message actor"),
        ("Plan", "digest steps"),
        ("Step", "kind name action reason changes"),
        ("Change", "path from to"),
        ("ApplyStackInput", "manifest idempotencyKey expectedGeneration dryRun"),
        ("DeployStackInput", "stack ref images variables reason expectedGeneration idempotencyKey"),
        ("DeleteStackInput", "stack confirmName reason"),
    ];
    let missing: Vec<String> = contract
        .iter()
        .flat_map(|(kind, fields)| fields.split(' ').map(move |field| format!("{kind}.{field}")))
        .filter(|name| !names.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[tokio::test]
async fn too_many_aliases_are_refused() {
    let many: String = (0..51).map(|n| format!("a{n}: __typename ")).collect();
    let answer = builder().finish().execute(format!("{{ {many} }}")).await;
    let code = answer.errors[0].extensions.as_ref().and_then(|all| all.get("code")).cloned();
    assert_eq!(code, Some(Value::from("LIMIT_EXCEEDED")));
}

#[tokio::test]
async fn a_long_chain_of_fragments_is_refused() {
    let chain: String = (0..40_000).map(|n| format!("fragment f{n} on Query {{ ...f{} }} ", n + 1)).collect();
    let query = format!("{{ ...f0 }} {chain} fragment f40000 on Query {{ __typename }}");
    let answer = builder().finish().execute(query).await;
    assert_eq!(
        answer.errors[0].extensions.as_ref().and_then(|all| all.get("code")),
        Some(&Value::from("LIMIT_EXCEEDED"))
    );
}
