use super::*;

fn seen(tags: &[&str]) -> Seen {
    Seen { tags: Some(Arc::new(tags.iter().map(|tag| (*tag).to_owned()).collect())), digests: BTreeMap::new() }
}

fn version(tag: &str) -> FollowedVersion {
    FollowedVersion { tag: tag.to_owned(), digest: None }
}

fn failed(tag: &str, digest: Option<&str>) -> Failed {
    Failed { tag: tag.to_owned(), digest: digest.map(str::to_owned) }
}

fn semver(range: &str) -> FollowRule {
    FollowRule::Semver(range.to_owned())
}

#[test]
fn the_newest_that_fits_is_chosen() {
    for (rule, tags, wanted) in [
        (semver("~1.4"), vec!["1.4.2", "1.4.10", "1.4.9", "1.5.0", "latest", "1.4.11-rc.1"], "1.4.10"),
        (semver("~1.4"), vec!["v1.4.2", "1.4.2"], "1.4.2"),
        (semver(">=1.4.11-rc.1 <2"), vec!["1.4.10", "1.4.11-rc.1"], "1.4.11-rc.1"),
        (FollowRule::Pattern(r"^build-(?<n>\d+)$".into()), vec!["build-9", "build-10", "build-x", "b-99"], "build-10"),
        (FollowRule::Pattern(r"^build-(?<n>\d+)$".into()), vec!["build-0010", "build-9"], "build-0010"),
        (
            FollowRule::Pattern(r"^build-(?<n>\d+)$".into()),
            vec!["build-99999999999999999999999999999999999999999", "build-100000000000000000000000000000000000000000"],
            "build-100000000000000000000000000000000000000000",
        ),
        (
            FollowRule::Pattern(r"^(?<day>\d{8})-(?<n>\d+)-[0-9a-f]+$".into()),
            vec!["20260101-9-ff", "20260101-10-aa", "20251231-11-00"],
            "20260101-10-aa",
        ),
        (FollowRule::Pattern("^main-".into()), vec!["main-a", "main-c", "main-b"], "main-c"),
        // The number says the same: the text decides.
        (FollowRule::Pattern(r"^(?<n>\d+)-".into()), vec!["7-alpine", "7-bookworm"], "7-bookworm"),
    ] {
        assert_eq!(rule.check(), Ok(()));
        let chosen = choose(&rule, &seen(&tags), &[], None);
        assert_eq!(chosen.choice, Choice::Version(version(wanted)), "{rule}");
    }
}

#[test]
fn what_failed_is_passed_over_until_its_tag_points_elsewhere() {
    let tags = seen(&["1.4.1", "1.4.2", "1.4.3"]);
    let of = |seen: &Seen, failed: &[Failed]| choose(&semver("~1.4"), seen, failed, Some(&version("1.4.1")));
    // Without the digest it failed with, a tag stays passed over.
    let chosen = of(&tags, &[failed("1.4.3", None)]);
    assert_eq!((chosen.choice, chosen.skipped), (Choice::Version(version("1.4.2")), vec!["1.4.3".to_owned()]));
    // With it, it is asked first what the tag points at now.
    let known = [failed("1.4.3", Some("sha256:a"))];
    assert_eq!(of(&tags, &known).choice, Choice::Ask(["1.4.3".to_owned()].into()));
    let mut same = tags.clone();
    same.digests.insert("1.4.3".into(), Some("sha256:a".into()));
    assert_eq!(of(&same, &known).choice, Choice::Version(version("1.4.2")));
    let mut anew = tags.clone();
    anew.digests.insert("1.4.3".into(), Some("sha256:b".into()));
    let chosen = of(&anew, &known);
    let wanted = FollowedVersion { tag: "1.4.3".into(), digest: Some("sha256:b".into()) };
    assert_eq!((chosen.choice, chosen.skipped), (Choice::Version(wanted), Vec::new()));
    // The tag may be gone.
    let mut gone = tags;
    gone.digests.insert("1.4.3".into(), None);
    assert_eq!(of(&gone, &known).choice, Choice::Version(version("1.4.2")));
    let all = [failed("1.4.1", None), failed("1.4.2", None), failed("1.4.3", None)];
    assert_eq!(of(&gone, &all).choice, Choice::AllFailed);
}

#[test]
fn nothing_goes_back_by_itself() {
    let good = version("1.4.3");
    let of = |range: &str, tags: &[&str]| choose(&semver(range), &seen(tags), &[], Some(&good)).choice;
    assert_eq!(of("~1.4", &["1.4.2"]), Choice::Version(good.clone()), "its tag was taken away");
    assert_eq!(of("~1.4", &["1.4.2", "1.4.4"]), Choice::Version(version("1.4.4")));
    // That is a person's word.
    assert_eq!(of("=1.4.2", &["1.4.2", "1.4.4"]), Choice::Version(version("1.4.2")));
    let rule = FollowRule::Digest("stable".into());
    let good = FollowedVersion { tag: "stable".into(), digest: Some("sha256:a".into()) };
    let mut gone = Seen::default();
    assert_eq!(choose(&rule, &gone, &[], Some(&good)).choice, Choice::Ask(["stable".to_owned()].into()));
    gone.digests.insert("stable".into(), None);
    assert_eq!(choose(&rule, &gone, &[], Some(&good)).choice, Choice::Version(good.clone()));
    assert!(matches!(choose(&rule, &gone, &[], None).choice, Choice::Nothing(_)));
    gone.digests.insert("stable".into(), Some("sha256:b".into()));
    let failed = [failed("stable", Some("sha256:b"))];
    let chosen = choose(&rule, &gone, &failed, Some(&good));
    assert_eq!((chosen.choice, chosen.skipped.len()), (Choice::Version(good), 1));
    assert_eq!(choose(&rule, &gone, &failed, None).choice, Choice::AllFailed);
}

#[test]
fn when_nothing_fits_it_is_said_what_there_is() {
    let choice = choose(&semver("~2"), &seen(&["1.4.2", "1.10.0", "latest"]), &[], None).choice;
    let Choice::Nothing(why) = choice else { panic!("{choice:?}") };
    assert!(why.contains("3 tags") && why.contains("1.10.0, 1.4.2"), "{why}");
    assert_eq!(choose(&semver("~2"), &seen(&[]), &[], None).choice, Choice::Nothing("it has no tags".into()));
    assert_eq!(choose(&semver("~2"), &Seen::default(), &[], None).choice, Choice::Ask([].into()));
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    for bad in [
        semver("main"),
        semver(""),
        FollowRule::Digest("a b".into()),
        FollowRule::Digest("-x".into()),
        FollowRule::Pattern("(".into()),
        FollowRule::Pattern("(a{1000}){1000}".into()),
    ] {
        assert!(bad.check().is_err(), "{bad}");
    }
}

#[test]
fn a_repository_is_what_the_image_names() {
    for (image, host, path) in [
        ("nginx", "docker.io", "library/nginx"),
        ("nginx:1.25@sha256:ab", "docker.io", "library/nginx"),
        ("team/web:1", "docker.io", "team/web"),
        ("docker.io/team/web", "docker.io", "team/web"),
        ("index.docker.io/library/nginx", "docker.io", "library/nginx"),
        ("127.0.0.1:5000/web:1", "127.0.0.1:5000", "web"),
        ("ghcr.io/a/b/c:1@sha256:ab", "ghcr.io", "a/b/c"),
        ("localhost/web", "localhost", "web"),
    ] {
        let repository = Repository::of_image(image);
        assert_eq!((repository.host.as_str(), repository.path.as_str()), (host, path), "{image}");
        assert_eq!(Repository::try_from(repository.to_string()), Ok(repository));
    }
    assert_eq!(name_of("127.0.0.1:5000/web:1@sha256:ab"), "127.0.0.1:5000/web");
    assert_eq!(name_of("127.0.0.1:5000/web"), "127.0.0.1:5000/web");
    assert_eq!(name_of("nginx:1"), "nginx");
}

#[test]
fn a_wish_reads_as_it_was_written_before_and_as_a_rule() {
    let named: ImageWish = serde_json::from_str("\"1.4.2\"").unwrap();
    assert_eq!(named, ImageWish::Named("1.4.2".into()));
    let rule = FollowRule::Semver("~1.4".into());
    let followed = ImageWish::Followed(FollowedImage { rule, poll: SignedDuration::from_mins(5) });
    let text = serde_json::to_string(&followed).unwrap();
    assert_eq!(serde_json::from_str::<ImageWish>(&text).unwrap(), followed);
}
