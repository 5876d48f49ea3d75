//! What git hosts are told: through a courier, and in the words of each.

use super::*;

const STATUS: &str = "\
kind: Credential
name: git
type: GitToken
hosts: [git.example.org]
data: { token: a-token-for-git }
---
kind: Notifier
name: commits
type: GiteaStatus
credential: git
";

#[tokio::test(start_paused = true)]
async fn the_commit_of_a_deployment_gets_its_status() {
    let world = World::new(STATUS).await;
    let api = "https://git.example.org/api/v1/repos/team/shop/statuses/";
    world.start_and_converge().await;
    let bodies = world.receiver.bodies(api, 2).await;
    let states: Vec<&str> = bodies.iter().map(|body| body["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["pending", "success"]);
    assert_eq!(bodies[1]["context"], "skep/default/shop");
    assert_eq!(bodies[1]["description"], "converged: all 2 tasks run");
    let (_, request) = world.receiver.at(api).remove(0);
    assert_eq!(request.url, format!("{api}{COMMIT}"));
    assert!(request.headers.contains(&("authorization", "token a-token-for-git".into())));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_on_github_is_made_once_and_gets_its_statuses() {
    let world = World::new(&STATUS.replace("GiteaStatus", "GitHubDeployment")).await;
    let base = "https://git.example.org/api/v3/repos/team/shop/deployments";
    let id = world.deployment().id;
    // There is none; its answer is lost when it is made; then it is there.
    world.receiver.script(
        base,
        &[
            Act::Body(200, "[]"),
            Act::Break,
            Act::Body(200, "[{\"id\": 42, \"sha\": \"x\"}]"),
            Act::Answer(201),
            Act::Body(200, "[{\"id\": 42}]"),
            Act::Answer(201),
        ],
    );
    world.start_and_converge().await;
    world.until("commits", |status| status.delivered == 2).await;
    let all = world.receiver.at(base);
    let asked: Vec<(bool, &str)> = all.iter().map(|(_, it)| (it.posts, &it.url[base.len()..])).collect();
    let find = format!("?sha={COMMIT}&environment=default%2Fshop&task=skep%3A{id}&per_page=1");
    let status = "/42/statuses";
    assert_eq!(asked, [(false, &*find), (true, ""), (false, &*find), (true, status), (false, &*find), (true, status)]);
    let body = |n: usize| -> Value { serde_json::from_slice(&all[n].1.body).unwrap() };
    let made = body(1);
    assert_eq!((&made["ref"], &made["environment"]), (&json!(COMMIT), &json!("default/shop")));
    assert_eq!((&made["auto_merge"], &made["required_contexts"]), (&json!(false), &json!([])));
    assert_eq!((&body(3)["state"], &body(5)["state"]), (&json!("in_progress"), &json!("success")));
    assert_eq!(body(5)["log_url"], format!("https://skep.example.org/deployments/{id}"));
}

#[tokio::test(start_paused = true)]
async fn a_token_goes_nowhere_but_to_its_hosts_and_what_has_no_commit_is_passed_over() {
    let world = World::new(&STATUS.replace("hosts: [git.example.org]", "hosts: [other.example.org]")).await;
    let text = "kind: Stack\nname: text\ninline: 'services: { web: { image: a } }'\n";
    world.apply(text).await;
    world.start_and_converge().await;
    // The same repository for a notifier that may: when that has come, the other has had its turn.
    world
        .apply(
            &STATUS
                .replace("name: git", "name: right")
                .replace("credential: git", "credential: right")
                .replace("name: commits", "name: yes"),
        )
        .await;
    world.start_and_converge().await;
    world.receiver.bodies("https://git.example.org", 1).await;
    let all: Vec<_> = world.receiver.got.lock().unwrap().iter().map(|(_, it)| it.url.clone()).collect();
    assert!(all.iter().all(|url| url.starts_with("https://git.example.org/api/v1/")), "{all:?}");
    let status = world.status("commits");
    assert_eq!((status.delivered, status.given_up, status.attempts), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn each_git_host_is_asked_in_its_own_words() {
    let mut it = Pieces::new().await;
    let event = entered(&mut it.deployment, DeploymentPhase::Failed, start(), &"why ".repeat(100));
    let mut told = it.told(&event, false).unwrap();
    told.url = Some("https://skep.example.org/deployments/01x".into());
    let ask = |kind, url: &str, transition| {
        let repository = Repository::of(kind, &GitUrl::parse(url).unwrap(), None).unwrap();
        let request = status::set(kind, &repository, transition, &told, "tkn", None).unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        (request, body)
    };
    let (request, body) = ask(NotifierType::GitHubStatus, "ssh://git@github.com/o/r.git", Transition::Failed);
    assert_eq!(request.url, format!("https://api.github.com/repos/o/r/statuses/{COMMIT}"));
    assert!(request.headers.contains(&("authorization", "Bearer tkn".into())));
    assert!(request.headers.contains(&("x-github-api-version", "2022-11-28".into())));
    assert_eq!((&body["state"], &body["context"]), (&json!("failure"), &json!("skep/default/shop")));
    assert_eq!(body["target_url"], "https://skep.example.org/deployments/01x");
    assert_eq!(body["description"].as_str().unwrap().chars().count(), 140);
    let (request, body) = ask(NotifierType::GitLabStatus, "https://lab.example.org:8443/g/s/r", Transition::Started);
    assert_eq!(request.url, format!("https://lab.example.org:8443/api/v4/projects/g%2Fs%2Fr/statuses/{COMMIT}"));
    assert!(request.headers.contains(&("private-token", "tkn".into())));
    assert_eq!(body["state"], "running");
    let (_, body) = ask(NotifierType::GitLabStatus, "https://lab.example.org/g/r", Transition::Superseded);
    assert_eq!(body["state"], "canceled");
    let (request, body) = ask(NotifierType::GiteaStatus, "ssh://git@tea.example.org:2222/o/r", Transition::RolledBack);
    assert_eq!(request.url, format!("https://tea.example.org/api/v1/repos/o/r/statuses/{COMMIT}"));
    assert_eq!(body["state"], "failure");
    let look = status::look(
        NotifierType::GitLabStatus,
        &Repository::of(
            NotifierType::GitLabStatus,
            &GitUrl::parse("https://lab.example.org/g/r").unwrap(),
            Some("http://127.0.0.1:1/api/v4/"),
        )
        .unwrap(),
        "tkn",
        None,
    );
    assert_eq!((look.posts, look.url.as_str()), (false, "http://127.0.0.1:1/api/v4/projects/g%2Fr"));
    for no in
        ["file:///srv/o/r", "https://h/r", "https://h/a/b/c", "https://h/../r", "https://h/o/r?x", "https://h/o/%2e"]
    {
        assert_eq!(Repository::of(NotifierType::GitHubStatus, &GitUrl::parse(no).unwrap(), None), None, "{no}");
    }
    told.revision = None;
    let repository = Repository::of(NotifierType::GiteaStatus, &GitUrl::parse("https://h/o/r").unwrap(), None).unwrap();
    assert_eq!(status::set(NotifierType::GiteaStatus, &repository, Transition::Failed, &told, "tkn", None), None);
}
