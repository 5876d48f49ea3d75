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
    let trace = world.deployment().trace().trace_id();
    assert_eq!(bodies[1]["description"], format!("converged: all 2 tasks run · trace {trace}"));
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
    let asked: Vec<(Method, &str)> = all.iter().map(|(_, it)| (it.method, &it.url[base.len()..])).collect();
    let find = format!("?sha={COMMIT}&environment=default%2Fshop&task=skep%3A{id}&per_page=1");
    let status = "/42/statuses";
    let (find, tell) = ((Method::Get, &*find), (Method::Post, status));
    assert_eq!(asked, [find, (Method::Post, ""), find, tell, find, tell]);
    let body = |n: usize| -> Value { serde_json::from_slice(&all[n].1.body).unwrap() };
    let made = body(1);
    assert_eq!((&made["ref"], &made["environment"]), (&json!(COMMIT), &json!("default/shop")));
    assert_eq!(made["payload"], json!({ "traceId": world.deployment().trace().trace_id() }));
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

fn telling<'a>(
    kind: NotifierType,
    repository: &'a Repository,
    transition: Transition,
    message: &'a Message,
) -> Telling<'a> {
    Telling { kind, repository, transition, message, token: "tkn", ca: None }
}

#[tokio::test(start_paused = true)]
async fn each_git_host_is_asked_in_its_own_words() {
    let mut it = Pieces::new().await;
    let event = entered(&mut it.deployment, DeploymentPhase::Failed, start(), &"why ".repeat(100));
    let mut told = it.told(&event, false).unwrap();
    told.url = Some("https://skep.example.org/deployments/01x".into());
    let ask = |kind, url: &str, transition| {
        let repository = Repository::of(kind, &GitUrl::parse(url).unwrap(), None).unwrap();
        let Next::Send(request) = telling(kind, &repository, transition, &told).next(&[]) else { panic!("{kind}") };
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        (request, body)
    };
    let (request, body) = ask(NotifierType::GitHubStatus, "ssh://git@github.com/o/r.git", Transition::Failed);
    assert_eq!(request.url, format!("https://api.github.com/repos/o/r/statuses/{COMMIT}"));
    assert!(request.headers.contains(&("authorization", "Bearer tkn".into())));
    assert!(request.headers.contains(&("x-github-api-version", "2022-11-28".into())));
    assert_eq!((&body["state"], &body["context"]), (&json!("failure"), &json!("skep/default/shop")));
    assert_eq!(body["target_url"], "https://skep.example.org/deployments/01x");
    // There is no room for the trace: what happened comes first.
    let said = body["description"].as_str().unwrap();
    assert!(said.chars().count() == 140 && said.ends_with('…') && !said.contains("trace"), "{said}");
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
    assert_eq!((look.method, look.url.as_str()), (Method::Get, "http://127.0.0.1:1/api/v4/projects/g%2Fr"));
    for no in
        ["file:///srv/o/r", "https://h/r", "https://h/a/b/c", "https://h/../r", "https://h/o/r?x", "https://h/o/%2e"]
    {
        assert_eq!(Repository::of(NotifierType::GitHubStatus, &GitUrl::parse(no).unwrap(), None), None, "{no}");
    }
    told.revision = None;
    let repository = Repository::of(NotifierType::GiteaStatus, &GitUrl::parse("https://h/o/r").unwrap(), None).unwrap();
    let next = telling(NotifierType::GiteaStatus, &repository, Transition::Failed, &told).next(&[]);
    assert_eq!(next, Next::Nothing("the deployment has no commit"));
}

/// The deployments of one environment on a GitLab, as its API has them.
struct Lab {
    repository: Repository,
    message: Message,
    /// Commit, status, and whether a job of a pipeline made it.
    all: Vec<(&'static str, String, bool)>,
    /// What was sent.
    sent: Vec<(Method, String)>,
}

const LAB: &str = "https://lab.example.org/api/v4/projects/team%2Fshop/deployments";
const X: &str = "1111111111111111111111111111111111111111";
const Y: &str = "2222222222222222222222222222222222222222";

impl Lab {
    async fn new() -> Self {
        let mut it = Pieces::new().await;
        let event = entered(&mut it.deployment, DeploymentPhase::Failed, start(), "why");
        let url = GitUrl::parse("https://lab.example.org/team/shop.git").unwrap();
        let repository = Repository::of(NotifierType::GitLabDeployment, &url, None).unwrap();
        Self { repository, message: it.told(&event, false).unwrap(), all: Vec::new(), sent: Vec::new() }
    }

    fn answer(&mut self, request: &Request) -> Value {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let shown = |number: usize, (sha, status, job): &(&str, String, bool)| json!({ "id": number, "sha": sha, "status": status, "deployable": job.then(|| json!({ "id": 7 })) });
        self.sent.push((request.method, request.url[LAB.len()..].to_owned()));
        match request.method {
            Method::Get => match self.all.last() {
                Some(newest) => json!([shown(self.all.len(), newest)]),
                None => json!([]),
            },
            Method::Post => {
                assert_eq!((&body["environment"], &body["tag"]), (&json!("default/shop"), &json!(false)));
                assert_eq!(body["ref"], body["sha"]);
                let sha = if body["sha"] == X { X } else { Y };
                self.all.push((sha, body["status"].as_str().unwrap().to_owned(), false));
                json!({ "id": self.all.len() })
            }
            Method::Put => {
                let number: usize = request.url[LAB.len() + 1..].parse().unwrap();
                let (_, status, job) = &mut self.all[number - 1];
                let wanted = body["status"].as_str().unwrap().to_owned();
                assert!(!*job && *status != wanted, "it would refuse that");
                *status = wanted;
                json!({ "id": number })
            }
        }
    }

    /// Tells of these transitions of deployments of a commit; with `lost`, the answer to every request is lost once.
    fn tell(&mut self, commit: &'static str, transitions: &[Transition], lost: bool) {
        self.message.revision = Some(commit.to_owned());
        let (kind, message, repository) =
            (NotifierType::GitLabDeployment, self.message.clone(), self.repository.clone());
        for transition in transitions {
            let telling = telling(kind, &repository, *transition, &message);
            // One attempt after the other, each of which gets one answer further than the one before.
            'attempts: for patience in if lost { 0 } else { 9 }.. {
                let mut answers = Vec::new();
                while let Next::Send(request) = telling.next(&answers) {
                    let answer = self.answer(&request).to_string().into_bytes();
                    if answers.len() == patience {
                        continue 'attempts;
                    }
                    answers.push(answer);
                }
                break;
            }
        }
    }

    fn shown(&self) -> Vec<(&str, &str)> {
        self.all.iter().map(|(sha, status, _)| (*sha, status.as_str())).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_on_gitlab_is_there_once_however_often_it_is_told() {
    use Transition::*;
    for lost in [false, true] {
        let mut lab = Lab::new().await;
        lab.tell(X, &[AwaitingApproval], lost);
        assert_eq!((lab.shown().len(), lab.sent.len()), (0, 0), "GitLab has no word for it");
        lab.tell(X, &[Started, Converged], lost);
        assert_eq!(lab.shown(), [(X, "success")]);
        // The same version once more changes nothing; deployed anew, it is a deployment of its own.
        lab.tell(X, &[Unchanged], lost);
        assert_eq!(lab.shown(), [(X, "success")]);
        lab.tell(X, &[Started], lost);
        assert_eq!(lab.shown(), [(X, "success"), (X, "running")]);
        lab.tell(X, &[Converged], lost);
        // One that fails and is rolled back, tried once more, and left for another.
        lab.tell(Y, &[Started, Failed, RolledBack], lost);
        assert_eq!(lab.shown()[2..], [(Y, "failed")]);
        lab.tell(Y, &[Started, Failed, RollbackFailed], lost);
        lab.tell(Y, &[Started, Superseded], lost);
        assert_eq!(lab.shown()[3..], [(Y, "failed"), (Y, "canceled")]);
        // Its beginning was never told: it is made as it ended.
        lab.tell(X, &[Converged], lost);
        lab.tell(Y, &[Cancelled], lost);
        assert_eq!(lab.shown()[5..], [(X, "success"), (Y, "canceled")]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_pipeline_deploys_on_gitlab_is_left_to_it() {
    let mut lab = Lab::new().await;
    lab.all.push((X, "running".to_owned(), true));
    lab.tell(X, &[Transition::Started, Transition::Converged], false);
    assert_eq!(lab.shown(), [(X, "running"), (X, "success")]);
    let newest = "?environment=default%2Fshop&order_by=id&sort=desc&per_page=1".to_owned();
    let (get, post, put) = (Method::Get, Method::Post, Method::Put);
    assert_eq!(lab.sent, [(get, newest.clone()), (post, String::new()), (get, newest), (put, "/2".to_owned())]);
    let senseless = telling(NotifierType::GitLabDeployment, &lab.repository, Transition::Started, &lab.message);
    assert_eq!(senseless.next(&[b"<html>".to_vec()]), Next::Senseless);
}
