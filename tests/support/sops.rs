//! A small SOPS of its own: it encrypts, and shares nothing with what decrypts but the two ciphers' libraries.
#![allow(dead_code, reason = "each test uses a part")]

use std::cell::Cell;
use std::fmt::Write as _;

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

/// When every file was last changed.
const CHANGED: &str = "2026-01-31T12:00:00Z";

/// Encrypts for one age key.
pub struct Encryptor {
    identity: age::x25519::Identity,
    /// Names of keys that end in this are left in the clear.
    pub unencrypted_suffix: Option<&'static str>,
    /// Only encrypted values are in the MAC.
    pub mac_only_encrypted: bool,
    key: [u8; 32],
    count: Cell<u8>,
}

impl Encryptor {
    pub fn new() -> Self {
        Self {
            identity: age::x25519::Identity::generate(),
            unencrypted_suffix: None,
            mac_only_encrypted: false,
            key: [42; 32],
            count: Cell::new(0),
        }
    }

    /// As `age-keygen` writes it.
    pub fn identity(&self) -> String {
        use age::secrecy::ExposeSecret;
        let (public, secret) = (self.recipient(), self.identity.to_string());
        format!("# created: {CHANGED}\n# public key: {public}\n{}\n", secret.expose_secret())
    }

    pub fn recipient(&self) -> String {
        self.identity.to_public().to_string()
    }

    fn seal(&self, bytes: &[u8], bound: &str, kind: &str) -> String {
        self.count.set(self.count.get().wrapping_add(1));
        let iv = [self.count.get(); 32];
        let cipher = AesGcm::<Aes256, U32>::new_from_slice(&self.key).unwrap();
        let payload = Payload { msg: bytes, aad: bound.as_bytes() };
        let mut data = cipher.encrypt(&Nonce::<U32>::try_from(iv.as_slice()).unwrap(), payload).unwrap();
        let tag = data.split_off(data.len() - 16);
        let [data, iv, tag] = [data.as_slice(), &iv, &tag].map(|part| BASE64_STANDARD.encode(part));
        format!("ENC[AES256_GCM,data:{data},iv:{iv},tag:{tag},type:{kind}]")
    }

    fn walk(&self, value: &Value, path: &mut Vec<String>, mac: &mut Sha512) -> Value {
        let (text, kind) = match value {
            Value::Null => return Value::Null,
            Value::Array(items) => return items.iter().map(|item| self.walk(item, path, mac)).collect(),
            Value::Object(map) => {
                let mut found = Map::new();
                for (key, value) in map {
                    path.push(key.clone());
                    found.insert(key.clone(), self.walk(value, path, mac));
                    path.pop();
                }
                return Value::Object(found);
            }
            Value::Bool(true) => ("True".to_owned(), "bool"),
            Value::Bool(false) => ("False".to_owned(), "bool"),
            Value::Number(number) if number.is_f64() => (number.as_f64().unwrap().to_string(), "float"),
            Value::Number(number) => (number.to_string(), "int"),
            Value::String(text) => (text.clone(), "str"),
        };
        let clear = self.unencrypted_suffix.is_some_and(|suffix| path.iter().any(|key| key.ends_with(suffix)));
        if !clear || !self.mac_only_encrypted {
            mac.update(&text);
        }
        if clear || text.is_empty() {
            return value.clone();
        }
        let bound: String = path.iter().map(|key| format!("{key}:")).collect();
        Value::String(self.seal(text.as_bytes(), &bound, kind))
    }

    /// The document with its values encrypted, and its metadata.
    pub fn tree(&self, document: &Value) -> (Value, Value) {
        let mut mac = Sha512::new();
        if self.mac_only_encrypted {
            mac.update(sha2::Sha256::digest("sops"));
        }
        let tree = self.walk(document, &mut Vec::new(), &mut mac);
        (tree, self.metadata(mac))
    }

    fn metadata(&self, mac: Sha512) -> Value {
        let mac: String = mac.finalize().iter().map(|byte| format!("{byte:02X}")).collect();
        let enc = age::encrypt_and_armor(&self.identity.to_public(), &self.key).unwrap();
        let mut metadata = json!({
            "kms": null, "pgp": null, "age": [{ "recipient": self.recipient(), "enc": enc }],
            "lastmodified": CHANGED, "mac": self.seal(mac.as_bytes(), CHANGED, "str"), "version": "3.10.2",
        });
        if let Some(suffix) = self.unencrypted_suffix {
            metadata["unencrypted_suffix"] = json!(suffix);
        }
        if self.mac_only_encrypted {
            metadata["mac_only_encrypted"] = json!(true);
        }
        metadata
    }

    pub fn json(&self, document: &Value) -> String {
        let (mut tree, metadata) = self.tree(document);
        tree["sops"] = metadata;
        serde_json::to_string_pretty(&tree).unwrap()
    }

    pub fn yaml(&self, document: &Value) -> String {
        let (mut tree, metadata) = self.tree(document);
        tree["sops"] = metadata;
        let mut text = String::new();
        block(&mut text, &tree, 0);
        text
    }

    pub fn dotenv(&self, pairs: &[(&str, &str)]) -> String {
        let document: Map<String, Value> = pairs.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let (tree, metadata) = self.tree(&Value::Object(document));
        let mut text = String::from("#ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:comment]\n");
        let line = |key: &str, value: &Value| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{key}={}\n", value.replace('\n', "\\n"))
        };
        for (key, value) in tree.as_object().unwrap() {
            text.push_str(&line(key, value));
        }
        for (key, value) in flattened(&metadata) {
            text.push_str(&line(&format!("sops_{key}"), &value));
        }
        text
    }

    /// Sections of texts; the names of a section are padded to one width, as SOPS does it.
    pub fn ini(&self, document: &Value) -> String {
        let (tree, metadata) = self.tree(document);
        let mut text = String::from("; ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:comment]\n");
        let own = json!({ "sops": Value::Object(flattened(&metadata)) });
        for (name, section) in tree.as_object().unwrap().iter().chain(own.as_object().unwrap()) {
            if name != "DEFAULT" {
                writeln!(text, "[{name}]").unwrap();
            }
            let section = section.as_object().unwrap();
            let width = section.keys().map(String::len).max().unwrap_or_default();
            for (name, value) in section {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                writeln!(text, "{name:width$} = {}", value.replace('\n', "\\n")).unwrap();
            }
            text.push('\n');
        }
        text
    }

    /// Bytes that are no text, too.
    pub fn binary(&self, bytes: &[u8]) -> String {
        let mut mac = Sha512::new();
        mac.update(bytes);
        let document = json!({ "data": self.seal(bytes, "data:", "str"), "sops": self.metadata(mac) });
        serde_json::to_string_pretty(&document).unwrap()
    }
}

/// The metadata without depth, as forms that have none hold them.
fn flattened(metadata: &Value) -> Map<String, Value> {
    let mut flat = Map::new();
    for (key, value) in metadata.as_object().unwrap().iter().filter(|(_, value)| !value.is_null()) {
        match value.as_array() {
            Some(items) => {
                for (index, item) in items.iter().enumerate() {
                    for (field, value) in item.as_object().unwrap() {
                        flat.insert(format!("{key}__list_{index}__map_{field}"), value.clone());
                    }
                }
            }
            None => drop(flat.insert(key.clone(), value.clone())),
        }
    }
    flat
}

/// Block style, as SOPS writes it.
fn block(text: &mut String, value: &Value, depth: usize) {
    let pad = " ".repeat(depth * 4);
    let entry = |text: &mut String, head: String, value: &Value| match value {
        Value::Object(map) if !map.is_empty() => {
            writeln!(text, "{pad}{head}").unwrap();
            block(text, value, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            writeln!(text, "{pad}{head}").unwrap();
            block(text, value, depth + 1);
        }
        Value::String(secret) if secret.starts_with("ENC[") => writeln!(text, "{pad}{head} {secret}").unwrap(),
        other => writeln!(text, "{pad}{head} {other}").unwrap(),
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| entry(text, format!("{key}:"), value)),
        Value::Array(items) => items.iter().for_each(|item| match item {
            Value::Object(_) => {
                let mut inner = String::new();
                block(&mut inner, item, 0);
                for (index, line) in inner.lines().enumerate() {
                    let head = if index == 0 { "- " } else { "  " };
                    writeln!(text, "{pad}{head}{line}").unwrap();
                }
            }
            _ => entry(text, "-".to_owned(), item),
        }),
        _ => {}
    }
}
