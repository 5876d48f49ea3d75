//! Files encrypted with SOPS for age: what comes out is what went in, in each form, and nothing that was tampered with, is for
//! another key, or of a kind that is not known comes out at all.
#![expect(clippy::unwrap_used, reason = "a test")]

#[expect(unreachable_pub, reason = "shared with the simulation")]
#[path = "support/sops.rs"]
mod encrypt;

use encrypt::Encryptor;
use proptest::prelude::*;
use serde_json::{Value, json};
use skep::domain::SecretBytes;
use skep::ports::{DecryptError, Decrypter, Opened};
use skep::source::sops::SopsFiles;

fn open(path: &str, text: &str, with: &Encryptor) -> Result<Opened, DecryptError> {
    assert!(SopsFiles.is_encrypted(path, text.as_bytes()), "{path} is not known as encrypted:\n{text}");
    SopsFiles.decrypt(path, text.as_bytes(), &SecretBytes::new(with.identity().into_bytes()))
}

fn text(path: &str, sealed: &str, with: &Encryptor) -> String {
    let opened = open(path, sealed, with).unwrap_or_else(|error| panic!("{error}\n{sealed}"));
    String::from_utf8(opened.bytes.expose().to_vec()).unwrap()
}

fn document() -> Value {
    json!({
        "password": "hunter2", "empty": "", "nothing": null, "port": 5432, "ratio": 0.25, "on": true, "off": false,
        "looks": "true", "number": "0123", "odd": " - a: #b\t", "lines": "one\ntwo\n", "umlaut": "Grüße",
        "deep": { "list": ["a1b2", { "x": "y1y2" }, ["c1c2", 7]], "none": {} },
    })
}

#[test]
fn each_form_comes_back_as_it_was() {
    let with = Encryptor::new();
    let sealed = with.yaml(&document());
    assert!(!sealed.contains("hunter2") && sealed.contains("password: ENC[AES256_GCM,"), "{sealed}");
    let yaml: Value = serde_saphyr::from_str(&text("a/secrets.enc.yaml", &sealed, &with)).unwrap();
    assert_eq!(yaml, document());
    let json: Value = serde_json::from_str(&text("secrets.json", &with.json(&document()), &with)).unwrap();
    assert_eq!(json, document());
    let pairs = [("PASSWORD", "hunter2"), ("EMPTY", ""), ("LINES", "a\nb"), ("EQUALS", "a=b # c ")];
    let env = text("prod.env", &with.dotenv(&pairs), &with);
    assert_eq!(env, "PASSWORD=hunter2\nEMPTY=\nLINES=a\\nb\nEQUALS=a=b # c \n");
    assert_eq!(text("id_ed25519", &with.binary(b"-----BEGIN\nkey\n"), &with), "-----BEGIN\nkey\n");
    let bytes = [0, 159, 146, 150, 255];
    assert_eq!(open("store.p12", &with.binary(&bytes), &with).unwrap().bytes.expose(), bytes);
}

#[test]
fn ini_comes_back_with_what_was_left_in_the_clear_in_whatever_quotes() {
    let mut with = Encryptor::new();
    let document = json!({ "DEFAULT": { "top": "hunter2" }, "a section": { "password": "s3cr3t#;", "path": "a=b:c", "lines": "a\nb" } });
    let sealed = with.ini(&document);
    assert!(!sealed.contains("s3cr3t") && sealed.contains("password = ENC[AES256_GCM,"), "{sealed}");
    let opened = "top = hunter2\n\n[a section]\npassword = `s3cr3t#;`\npath = a=b:c\nlines = \"\"\"a\nb\"\"\"\n";
    assert_eq!(text("app.ini", &sealed, &with), opened);
    with.unencrypted_suffix = Some("_clear");
    let document = json!({ "a": { "host_clear": "db.example", "tail_clear": "x", "key": "hunter2" } });
    let sealed = with.ini(&document);
    for same in [
        "\"db.example\"",
        "'db.example'",
        "`db.example`",
        "\"\"\"db.example\"\"\"",
        "db.example ; of the north",
        "db.example # x",
    ] {
        let other = sealed.replace("db.example", same);
        assert_eq!(
            text("app.ini", &other, &with),
            "[a]\nhost_clear = db.example\ntail_clear = x\nkey = hunter2\n",
            "{same}"
        );
    }
    assert!(matches!(
        open("app.ini", &sealed.replace("db.example", "db.evil"), &with),
        Err(DecryptError::Tampered { .. })
    ));
}

#[test]
fn a_form_is_known_also_by_another_name() {
    let with = Encryptor::new();
    let pairs = [("A", "hunter2")];
    assert_eq!(text("env.encrypted", &with.dotenv(&pairs), &with), "A=hunter2\n");
    assert_eq!(text("secret.enc", &with.yaml(&json!({ "a": "hunter2" })), &with).trim(), "a: hunter2");
    let json: Value = serde_json::from_str(&text("secret.enc", &with.json(&json!({ "a": "b" })), &with)).unwrap();
    assert_eq!(json, json!({ "a": "b" }));
}

#[test]
fn what_was_left_in_the_clear_stays_and_is_authenticated_unless_the_file_says_otherwise() {
    let mut with = Encryptor::new();
    with.unencrypted_suffix = Some("_clear");
    let document = json!({ "host_clear": "db.example", "port_clear": 5432, "on_clear": true, "half_clear": 0.5, "password": "hunter2" });
    let sealed = with.yaml(&document);
    assert!(sealed.contains("db.example"), "{sealed}");
    let opened = open("a.yaml", &sealed, &with).unwrap();
    assert_eq!(opened.values, [SecretBytes::new(b"hunter2".to_vec())], "only what was encrypted is secret");
    let read: Value = serde_saphyr::from_str(opened.bytes.expose_text().unwrap()).unwrap();
    assert_eq!(read, document);
    let changed = sealed.replace("db.example", "db.evil");
    assert!(matches!(open("a.yaml", &changed, &with), Err(DecryptError::Tampered { .. })));
    with.mac_only_encrypted = true;
    let changed = with.yaml(&document).replace("db.example", "db.evil");
    assert!(text("a.yaml", &changed, &with).contains("db.evil"));
}

#[test]
fn what_is_not_encrypted_is_left_alone() {
    for (path, text) in [
        ("a.yaml", "a: b\n"),
        (".sops.yaml", "creation_rules:\n  - age: age1x\n    mac: ENC[\n# sops\n"),
        ("a.json", "{\"sops\": 1, \"mac\": \"ENC[\"}"),
        ("a.ini", "[a]\nmac = ENC[\n"),
        ("a.ini", "; [sops] mac ENC[\n[a]\n"),
        ("a.env", "SOPS=mac\nX=ENC[\n"),
        ("a.env", "SOPS=mac ENC[ sops\nno assignment\n"),
        ("a.bin", "sops mac ENC[AES256_GCM"),
        ("a.txt", ""),
    ] {
        assert!(!SopsFiles.is_encrypted(path, text.as_bytes()), "{path} {text}");
    }
    assert!(!SopsFiles.is_encrypted("a.bin", &[0xff, 0xfe, b's', b'o', b'p', b's']));
}

/// The refusal, which shows nothing of what is inside.
fn refused(path: &str, sealed: &str, with: &Encryptor) -> String {
    let error = open(path, sealed, with).unwrap_err();
    let text = error.to_string();
    for secret in ["hunter2", "AGE-SECRET-KEY", "********"] {
        assert!(!text.contains(secret) && !format!("{error:?}").contains(secret), "{text}");
    }
    text.replace(&with.recipient(), "age1OWN")
}

#[test]
fn what_cannot_be_opened_says_why_and_what_to_do() {
    let with = Encryptor::new();
    let sealed = with.yaml(&json!({ "a": { "b": "hunter2" }, "c": "hunter2" }));
    let other = Encryptor::new();
    let wrong = refused("a.yaml", &sealed, &other).replace(&with.recipient(), "age1THEIRS");
    insta::assert_snapshot!(wrong, @"it is encrypted for age1THEIRS, and the identity opens age1OWN; name another credential, or add the recipient: `sops rotate -i --add-age age1OWN FILE`");
    let keys = |services: Value| {
        let mut document: Value = serde_json::from_str(&with.json(&json!({ "a": "hunter2" }))).unwrap();
        document["sops"]["age"] = Value::Null;
        for (key, value) in services.as_object().unwrap() {
            document["sops"][key] = value.clone();
        }
        refused("a.json", &document.to_string(), &with)
    };
    insta::assert_snapshot!(keys(json!({ "pgp": [{ "fp": "A" }], "kms": [{ "arn": "b" }], "hc_vault": [] })), @"it is encrypted with SOPS for PGP, AWS KMS, and Skep opens age alone; add an age recipient: `sops rotate -i --add-age RECIPIENT FILE`");
    insta::assert_snapshot!(keys(json!({})), @"it is encrypted with SOPS for no recipient that Skep knows of, and Skep opens age alone; add an age recipient: `sops rotate -i --add-age RECIPIENT FILE`");
    insta::assert_snapshot!(keys(json!({ "key_groups": [{}, {}] })), @"its key is split over groups (Shamir), and Skep opens one group alone; encrypt it without `--shamir-secret-sharing-threshold`");
    let nobody = SecretBytes::new(b"# nothing\n".to_vec());
    let error = SopsFiles.decrypt("a.yaml", sealed.as_bytes(), &nobody).unwrap_err();
    assert_eq!(error, DecryptError::Identity);
    // Values that change places, a value of another file, one that is taken away, one that is put in, a MAC that is gone.
    let line = |name: &str| sealed.lines().find(|line| line.trim_start().starts_with(name)).unwrap().to_owned();
    let (b, c) = (line("b:"), line("c:"));
    let moved = sealed.replace(&c, &format!("c:{}", b.split_once(':').unwrap().1));
    insta::assert_snapshot!(refused("a.yaml", &moved, &with), @"the value of `c` does not match its authentication code: the file was changed without `sops`, or damaged; restore it, or edit it with `sops edit`");
    let strange = Encryptor::new().yaml(&json!({ "c": "hunter22" }));
    let strange = strange.lines().find(|line| line.starts_with("c:")).unwrap().to_owned();
    let foreign = sealed.replace(&c, &strange);
    assert!(open("a.yaml", &foreign, &with).is_err());
    insta::assert_snapshot!(refused("a.yaml", &sealed.replace(&format!("{c}\n"), ""), &with), @"the file does not match its authentication code: the file was changed without `sops`, or damaged; restore it, or edit it with `sops edit`");
    assert!(matches!(
        open("a.yaml", &sealed.replace(&c, &format!("{c}\nd: more")), &with),
        Err(DecryptError::Tampered { .. })
    ));
    assert!(matches!(
        open("a.yaml", &sealed.replace("2026-01-31", "2026-02-01"), &with),
        Err(DecryptError::Tampered { .. })
    ));
    assert!(matches!(
        open("a.yaml", &sealed.replace(",type:str]", ",type:int]"), &with),
        Err(DecryptError::Malformed(_))
    ));
    insta::assert_snapshot!(refused("a.yaml", &sealed.replace(",iv:", ",i:"), &with), @"it is encrypted with SOPS, and cannot be read: an encrypted value is cut off or damaged; make it anew with `sops encrypt`");
    let broken = refused("a.yaml", &format!("{sealed}  - ]\n"), &with);
    assert!(broken.starts_with("it is encrypted with SOPS, and cannot be read: "), "{broken}");
    let ini = with.ini(&json!({ "a": { "b": "hunter2" }, "c": { "b": "hunter2" } }));
    let line = |section: &str| ini.split(section).nth(1).unwrap().lines().nth(1).unwrap().to_owned();
    let moved = ini.replace(&line("[c]"), &line("[a]"));
    insta::assert_snapshot!(refused("a.ini", &moved, &with), @"the value of `c.b` does not match its authentication code: the file was changed without `sops`, or damaged; restore it, or edit it with `sops edit`");
    let broken = refused("a.ini", &format!("{ini}no value\n"), &with);
    assert!(broken.ends_with("is not `name = value`; make it anew with `sops encrypt`"), "{broken}");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1_000_000..1_000_000_i32).prop_map(|number| json!(f64::from(number) + 0.5)),
        "\\PC{0,12}".prop_map(Value::from),
        "[ \n\t:#'\"-]{0,6}".prop_map(Value::from),
        prop::sample::select(vec!["yes", "null", "~", "1e3", "0x10", "2020-01-01", "- a", "a: b", "---", "|", "ENC"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_.-]{1,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_document_comes_back(map in prop::collection::btree_map("[a-r]{1,8}", value(), 1..4)) {
        let document = Value::Object(map.into_iter().collect());
        let with = Encryptor::new();
        let json: Value = serde_json::from_str(&text("a.json", &with.json(&document), &with)).unwrap();
        prop_assert_eq!(&json, &document);
        // The form in blocks is the encryptor's own; JSON is YAML as well.
        let yaml: Value = serde_saphyr::from_str(&text("a.yaml", &with.json(&document), &with)).unwrap();
        prop_assert_eq!(&yaml, &document);
    }
}

/// Every value with the keys that lead to it. SOPS vouches for these, not for how lists stand in lists, nor for lists and
/// maps that are empty.
fn leaves(value: &Value, keys: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves(item, keys, found)),
        Value::Object(map) => map.iter().for_each(|(key, value)| leaves(value, &format!("{keys}/{key}"), found)),
        leaf => found.push((keys.to_owned(), leaf.clone())),
    }
}

/// Every byte of a file, each made another one: it is refused, or says what it said.
#[test]
fn no_byte_of_an_encrypted_file_can_be_changed_unseen() {
    let with = Encryptor::new();
    let sealed = with.yaml(&json!({ "a": "hunter2", "b": ["x1", 5], "c": { "d": true } })).into_bytes();
    let identity = SecretBytes::new(with.identity().into_bytes());
    let said = |bytes: &[u8]| {
        let opened = SopsFiles.decrypt("a.yaml", bytes, &identity).ok()?;
        let value: Value = serde_saphyr::from_str(opened.bytes.expose_text()?).expect("what was decrypted is YAML");
        let mut found = Vec::new();
        leaves(&value, "", &mut found);
        Some(found)
    };
    let whole = said(&sealed);
    assert_eq!(whole.as_ref().map(Vec::len), Some(4));
    let document = sealed.windows(5).position(|it| it == b"sops:").expect("what SOPS adds");
    for at in 0..sealed.len() {
        let others: &[u8] = if at < document { b"A- \n:#\"z" } else { b"A " };
        for to in others.iter().filter(|to| **to != sealed[at]) {
            let mut bytes = sealed.clone();
            bytes[at] = *to;
            let found = said(&bytes);
            assert!(found.is_none() || found == whole, "byte {at}: {found:?}\n{}", String::from_utf8_lossy(&bytes));
        }
    }
}
