use std::process::{Command, Stdio};

use super::*;

/// A key pair for ssh, as people make them: private and public part.
fn ssh_pair(kind: &str, passphrase: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-C", "", "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success());
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    (read("key"), read("key.pub"))
}

fn wrong(kind: CredentialType, data: &[(&str, &str)]) -> Vec<String> {
    let data = data.iter().map(|(key, value)| {
        let value = SecretBytes::new(value.as_bytes().to_vec());
        ((*key).to_owned(), tidy(kind, key, value))
    });
    check(kind, &data.collect()).into_iter().map(|it| it.message).collect()
}

#[test]
fn each_type_wants_its_values() {
    use CredentialType::{GitBasic, GitToken, Opaque, Registry};
    assert!(wrong(GitToken, &[("token", "abc\n")]).is_empty(), "the newline at the end of a file is dropped");
    assert_eq!(wrong(GitToken, &[]), ["a credential of type GitToken needs `token`"]);
    assert_eq!(
        wrong(GitToken, &[("token", "a"), ("tokne", "b")]),
        ["a credential of type GitToken has no value `tokne`"]
    );
    assert_eq!(wrong(GitToken, &[("token", "a\r\nEvil: b")]), ["`token` has to be one line, without spaces around it"]);
    assert_eq!(wrong(GitToken, &[("token", " ")]), ["`token` is empty"]);
    assert_eq!(wrong(GitToken, &[("token", "a"), ("ca", "x")]), ["`ca` holds no certificate as PEM"]);
    assert_eq!(wrong(GitBasic, &[("username", "a:b"), ("password", "c")]), ["`username` holds a colon"]);
    assert!(wrong(Opaque, &[("anything", "a\nb")]).is_empty());
    assert!(wrong(Opaque, &[("any thing", "a")])[0].contains("is not a key"));
    assert!(wrong(Registry, &[("username", "a"), ("password", "b")]).is_empty());
    assert!(wrong(Registry, &[("config", r#"{"auths":{}}"#)]).is_empty());
    assert_eq!(wrong(Registry, &[("username", "a")]), ["`username` and `password` go together"]);
    assert_eq!(wrong(Registry, &[("token", "a"), ("config", "{}")]), ["it holds not just one login"]);
    assert_eq!(wrong(Registry, &[("config", "{}")]), ["`config` is not a docker config.json with `auths`"]);
}

#[test]
fn keys_for_ssh_are_unlocked_or_refused() {
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let (locked, public) = ssh_pair(kind, "hunter2hunter2");
        let open = ssh::unlock(&locked, Some("hunter2hunter2")).unwrap();
        let again = ssh_key::PrivateKey::from_openssh(open.as_str()).unwrap();
        assert!(!again.is_encrypted());
        let words = |text: &str| text.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&again.public_key().to_openssh().unwrap()), words(&public), "{kind}");
        let data = |passphrase| [("privateKey", locked.as_str()), ("passphrase", passphrase)];
        assert!(wrong(CredentialType::SshKey, &data("hunter2hunter2\n")).is_empty());
        assert_eq!(wrong(CredentialType::SshKey, &data("other")), ["`passphrase` does not open `privateKey`"]);
        let without = wrong(CredentialType::SshKey, &[("privateKey", &locked)]);
        assert_eq!(without, ["`privateKey` is locked, and there is no `passphrase`"]);
        assert_eq!(wrong(CredentialType::SshKey, &[("privateKey", &public)]), ["`privateKey` is a public key"]);
    }
    let (plain, _) = ssh_pair("ed25519", "");
    assert!(wrong(CredentialType::SshKey, &[("privateKey", plain.trim_end())]).is_empty());
    let hosts = "# comment\ngit.example.org ssh-ed25519 nonsense\n";
    let found = wrong(CredentialType::SshKey, &[("privateKey", &plain), ("knownHosts", hosts)]);
    assert_eq!(found, ["line 2 of `knownHosts` is not one of a known_hosts file"]);
}

#[test]
fn an_accepted_key_takes_the_place_of_the_one_before() {
    let lines: Vec<ssh::HostKey> = (0..3)
        .map(|_| ssh_pair("ed25519", "").1)
        .zip(["a", "a", "[b]:22"])
        .map(|(public, host)| ssh::HostKey::parse(&format!("{host} {public}")).unwrap())
        .collect();
    let known = lines[..1].iter().chain(&lines[2..]).fold(String::new(), |known, key| ssh::accept(&known, key));
    assert_eq!(ssh::known_hosts(&known), Ok(()));
    let after = ssh::accept(&known, &lines[1]);
    assert_eq!(after, format!("{}\n{}\n", lines[2].line, lines[1].line));
    assert!(lines[0].fingerprint.starts_with("SHA256:") && lines[0].host() == "a");
    for bad in ["", "a b", "a,b ssh-ed25519 x", "* ssh-ed25519 AAAA", "# a b c"] {
        assert!(ssh::HostKey::parse(bad).is_none(), "{bad}");
    }
}

#[test]
fn certificates_and_keys_have_to_go_together() {
    let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (one, two) = (made("one"), made("two"));
    let (ca, key, other) = (one.cert.pem(), one.signing_key.serialize_pem(), two.signing_key.serialize_pem());
    let tls = |data: &[(&str, &str)]| wrong(CredentialType::Tls, data);
    assert!(tls(&[("ca", &ca), ("cert", &ca), ("key", &key)]).is_empty());
    assert!(tls(&[("ca", &ca)]).is_empty());
    assert_eq!(tls(&[("ca", &ca), ("cert", &ca)]), ["`cert` and `key` go together"]);
    assert!(tls(&[("ca", &ca), ("cert", &ca), ("key", &other)])[0].contains("do not go together"));
    assert!(tls(&[("ca", &ca), ("cert", &ca), ("key", &ca)])[0].contains("holds no private key"));
}

#[test]
fn an_app_signs_in_with_a_token_that_its_key_signed() {
    use base64::Engine;
    let made = Command::new("openssl").args(["genrsa", "-traditional", "2048"]).stderr(Stdio::null()).output().unwrap();
    let key = String::from_utf8(made.stdout).unwrap();
    let token = github::app_token("1234", &key, 1_700_000_000).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let read = |part: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&read(parts[1])).unwrap();
    assert_eq!(claims, serde_json::json!({ "iat": 1_699_999_940, "exp": 1_700_000_540, "iss": "1234" }));
    // Another hand checks the signature.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("key"), &key).unwrap();
    std::fs::write(path("text"), format!("{}.{}", parts[0], parts[1])).unwrap();
    std::fs::write(path("signature"), read(parts[2])).unwrap();
    let checked = Command::new("openssl")
        .args(["dgst", "-sha256", "-prverify"])
        .arg(path("key"))
        .arg("-signature")
        .args([path("signature"), path("text")])
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    assert!(github::app_token("1", "no key", 0).is_err());
    let app = |id: &str, url: &str| {
        wrong(
            CredentialType::GitHubApp,
            &[("appId", "1"), ("installationId", id), ("privateKey", &key), ("apiUrl", url)],
        )
    };
    assert!(app("7", "https://github.example.org/api/v3").is_empty());
    assert_eq!(app("x", "http://h"), ["`installationId` is not a number", "`apiUrl` is not an https address"]);
    assert_eq!(github::api_of("github.com"), "https://api.github.com");
    assert_eq!(github::api_of("git.example.org"), "https://git.example.org/api/v3");
}
