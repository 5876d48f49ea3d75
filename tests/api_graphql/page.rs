//! The page's static files: for anyone, at the page's own addresses and at no other.

use crate::world::World;

#[tokio::test]
async fn the_page_is_served_without_a_token_and_under_a_strict_policy() {
    let world = World::new().await;
    for path in ["/", "/stacks/default/shop", "/deployments/01x", "/environments", "/activity", "/credentials"] {
        let answer = world.http.get(world.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), "text/html; charset=utf-8", "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-cache");
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(answer.text().await.unwrap().contains("<noscript>"), "{path}");
    }
    assert_eq!(world.http.head(world.url("/")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn other_addresses_are_not_the_page() {
    let world = World::new().await;
    for path in
        ["/stacks/shop", "/index.html", "/assets/nothing.js", "/assets/..%2findex.html", "/api/v1/x", "/nowhere"]
    {
        let answer = world.http.get(world.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    assert_eq!(world.http.post(world.url("/")).send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn assets_are_kept_for_ever_and_come_compressed_to_those_who_read_it() {
    let world = World::new().await;
    let page = world.http.get(world.url("/")).send().await.unwrap().text().await.unwrap();
    let script = page.split("src=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let get = |accepts: &str| {
        let request = world.http.get(world.url(&script)).header("accept-encoding", accepts.to_owned());
        async move { request.send().await.unwrap() }
    };
    let encoding =
        |answer: &reqwest::Response| answer.headers().get("content-encoding").map(|it| it.to_str().unwrap().to_owned());
    let plain = get("identity").await;
    assert_eq!(plain.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(plain.headers()["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(plain.headers()["vary"], "accept-encoding");
    assert_eq!(encoding(&plain), None);
    assert_eq!(encoding(&get("gzip, deflate, br").await).as_deref(), Some("br"));
    assert_eq!(encoding(&get("gzip;q=0.5, br;q=0").await).as_deref(), Some("gzip"));
    let whole = plain.bytes().await.unwrap().len();
    let gzip = get("gzip").await;
    let tag = gzip.headers()["etag"].clone();
    let small = gzip.bytes().await.unwrap().len();
    assert!(small < whole / 2 && small < 60_000, "{small} of {whole} bytes");
    let again = world.http.get(world.url(&script)).header("accept-encoding", "gzip").header("if-none-match", tag);
    assert_eq!(again.send().await.unwrap().status(), 304);
}
