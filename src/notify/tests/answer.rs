//! What answers mean, and how long is waited.

use super::*;

#[test]
fn an_answer_means_one_thing() {
    use NotifierType::{GitHubStatus, GitLabStatus, Slack, Webhook};
    let answer = |status, said: &str| Answer { status, said: said.into(), ..Answer::default() };
    let of = |kind, answer: &Answer| match verdict::of(kind, answer, start()) {
        Verdict::Delivered => "taken",
        Verdict::Again { .. } => "again",
        Verdict::GivenUp { .. } => "given up",
    };
    for (kind, status, wanted) in [
        (Webhook, 200, "taken"),
        (Webhook, 204, "taken"),
        (GitHubStatus, 201, "taken"),
        (Slack, 404, "again"),
        (Slack, 410, "again"),
        (Slack, 400, "given up"),
        (Webhook, 401, "again"),
        (Webhook, 302, "again"),
        (Webhook, 500, "again"),
        (Webhook, 429, "again"),
        (GitHubStatus, 404, "given up"),
        (GitHubStatus, 401, "again"),
        (GitHubStatus, 403, "given up"),
        (GitHubStatus, 422, "given up"),
        (GitHubStatus, 301, "given up"),
        (GitHubStatus, 502, "again"),
        (GitLabStatus, 400, "given up"),
    ] {
        assert_eq!(of(kind, &answer(status, "")), wanted, "{kind} {status}");
    }
    assert_eq!(
        of(GitLabStatus, &answer(400, "{\"message\":\"Cannot transition status via :run from :running\"}")),
        "taken"
    );
    let limited = Answer { limit_resets: Some(start().as_second() + 90), ..answer(403, "API rate limit exceeded") };
    let Verdict::Again { after, .. } = verdict::of(GitHubStatus, &limited, start()) else { panic!("{limited:?}") };
    assert_eq!(after, Some(Duration::from_secs(90)));
    let secondary = answer(403, "You have exceeded a secondary rate limit");
    assert_eq!(of(GitHubStatus, &secondary), "again");
    for (text, seconds) in
        [("30", Some(30)), ("Sat, 31 Jan 2026 12:01:00 GMT", Some(60)), ("999999", Some(3600)), ("soon", None)]
    {
        let asked = Answer { retry_after: Some(text.into()), ..answer(503, "") };
        let Verdict::Again { after, .. } = verdict::of(Webhook, &asked, start()) else { panic!("{text}") };
        assert_eq!(after.map(|it| it.as_secs()), seconds, "{text}");
    }
}

#[test]
fn waits_grow_to_the_longest_and_differ() {
    let wait = |attempts, random| verdict::backoff(attempts, Duration::from_secs(1), Duration::from_secs(300), random);
    assert_eq!(wait(1, 0), Duration::from_millis(500));
    assert_eq!(wait(3, 0), Duration::from_secs(2));
    assert_eq!(wait(100, 999).as_millis(), 299_850);
    assert!(
        (0..1000).all(|random| wait(5, random) >= Duration::from_secs(8) && wait(5, random) < Duration::from_secs(16))
    );
}
