//! Notifiers: declared, changed, deleted.

use super::*;
use crate::domain::{EventType, NotifierName, NotifierType, Transition};

const SLACK: &str = "\
kind: Notifier
name: team
type: Slack
url: https://hooks.slack.com/services/T0/B0/marked-part-of-an-address
events: [RolledBack, Failed]
stacks: ['shop*', blog]
";

async fn apply(world: &World, text: &str) -> Result<Vec<AppliedDocument>, Vec<Refusal>> {
    let ask = Ask::new(Actor::new("ada"), Trigger::Api);
    match world.declare.apply(text, &ApplyOptions::default(), &ask).await {
        Ok(applied) => Ok(applied.documents),
        Err(DeclareError::Refused(refusals)) => Err(refusals),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_notifier_is_declared_changed_and_deleted() {
    let world = World::new().await;
    let made = apply(&world, SLACK).await.unwrap();
    assert_eq!((made[0].kind, made[0].created), (DocumentKind::Notifier, true));
    assert_eq!(made[0].changes, ["type", "url", "environments", "stacks", "events"]);
    let name = NotifierName::parse("team").unwrap();
    let kept = world.ledger.notifier(&name).unwrap().unwrap().value;
    assert_eq!((kept.kind, kept.place.as_deref()), (NotifierType::Slack, Some("https://hooks.slack.com")));
    assert_eq!(kept.events, [Transition::Failed, Transition::RolledBack]);
    assert_eq!((kept.environments.clone(), kept.stacks.len()), (vec!["*".to_owned()], 2));
    assert!(apply(&world, SLACK).await.unwrap()[0].changes.is_empty());
    let changed = apply(&world, &SLACK.replace("blog", "wiki")).await.unwrap();
    assert_eq!((changed[0].created, changed[0].changes.clone()), (false, vec!["stacks".to_owned()]));
    let again = world.ledger.notifier(&name).unwrap().unwrap().value;
    assert_eq!((&again.id, again.since), (&kept.id, kept.since), "it is the same one still");
    let log = world.ledger.events(None, false, 100).unwrap();
    let told: Vec<_> = log.iter().filter(|(_, it)| it.kind == EventType::NotifierDeclared).collect();
    assert_eq!((told.len(), told[0].1.actor.as_str()), (2, "ada"));
    let ask = Ask::new(Actor::new("ada"), Trigger::Api);
    assert!(
        world.declare.delete_notifier("tema", &ask).await.unwrap_err().to_string().contains("there is no notifier")
    );
    world.declare.delete_notifier("team", &ask).await.unwrap();
    assert_eq!(world.ledger.notifier(&name).unwrap(), None);
}

#[tokio::test]
async fn its_address_is_kept_and_told_nowhere() {
    let world = World::new().await;
    apply(&world, SLACK).await.unwrap();
    let bad = apply(&world, &SLACK.replace("https://", "http://")).await.unwrap_err();
    assert!(bad[0].message.contains("in the clear"), "{bad:?}");
    let broken = apply(&world, &SLACK.replace("https://hooks", "https//hooks")).await.unwrap_err();
    assert_eq!((broken[0].line, broken[0].field.as_deref()), (Some(4), Some("url")));
    assert!(!format!("{bad:?} {broken:?}").contains("marked-part"));
    let kept: Vec<_> = world.ledger.notifiers().unwrap().into_iter().map(|it| it.value).collect();
    let all = format!("{} {}", world.everything(), serde_json::to_string(&kept).unwrap());
    assert!(all.contains("https://hooks.slack.com") && !all.contains("marked-part"), "{all}");
}

#[tokio::test]
async fn what_a_type_cannot_be_without_is_asked_for() {
    let world = World::new().await;
    let one = |rest: &str| format!("kind: Notifier\nname: a\n{rest}");
    for (rest, wanted) in [
        ("type: Slack\n", "a notifier of type Slack needs `url`"),
        ("type: Slack\nurl: https://x/y\ncredential: z\n", "both `url` and `credential`"),
        ("type: Webhook\nurl: https://x/y\n", "a notifier of type Webhook needs `credential`"),
        ("type: Webhook\ncredential: x\n", "a notifier of type Webhook needs `url`"),
        ("type: CloudEvents\n", "a notifier of type CloudEvents needs `url`"),
        ("type: GitHubStatus\n", "a notifier of type GitHubStatus needs `credential`"),
        ("type: GitHubStatus\ncredential: x\nurl: http://git.example.org/api\n", "in the clear"),
        ("type: CloudEvents\nurl: ftp://x/y\n", "it is not https"),
        ("type: CloudEvents\nurl: https://a:b@x/y\n", "it holds a name or password"),
        ("type: CloudEvents\nurl: https://x/y\nevents: [Failde]\n", "did you mean `Failed`?"),
        ("type: CloudEvents\nurl: https://x/y\nevents: []\n", "`events` names nothing"),
        ("type: CloudEvents\nurl: https://x/y\nstacks: ['a b']\n", "is not a pattern for names"),
        ("type: Slakc\n", "did you mean `Slack`?"),
        ("url: https://x/y\n", "`type` is missing"),
        ("type: CloudEvents\nurl: https://x/y\nwhen: x\n", "unknown field `when`"),
    ] {
        let found = apply(&world, &one(rest)).await.unwrap_err();
        let all = format!("{found:?}");
        assert!(all.contains(wanted), "{rest}: {all}");
        assert!(found.iter().all(|it| it.line.is_some()), "{all}");
    }
    assert!(world.ledger.notifiers().unwrap().is_empty());
    for good in [
        "type: CloudEvents\nurl: http://10.0.0.1/in\n",
        "type: Webhook\nurl: https://x/y\ncredential: z\nenvironments: [prod]\n",
        "type: Slack\ncredential: z\n",
        "type: GiteaStatus\ncredential: z\nurl: http://127.0.0.1:3000/api/v1\n",
    ] {
        assert!(apply(&world, &one(good)).await.is_ok(), "{good}");
    }
}

#[tokio::test]
async fn a_credential_that_a_notifier_names_stays() {
    let world = World::new().await;
    let text = "kind: Credential\nname: key\ntype: Opaque\ndata: { secret: x }\n---\n\
                kind: Notifier\nname: team\ntype: Webhook\nurl: https://x/y\ncredential: key\n";
    apply(&world, text).await.unwrap();
    let ask = Ask::new(Actor::new("ada"), Trigger::Api);
    let refused = world.declare.delete_credential("key", &ask).await.unwrap_err();
    assert!(refused.to_string().contains("in use by notifier `team`"), "{refused}");
}
