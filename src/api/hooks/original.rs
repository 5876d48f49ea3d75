//! The delivery as it is kept with the deployments it made: enough to see why they were, small enough for their records, and
//! nothing that signs or signs in.

use actix_web::http::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::provider::KEPT;
use crate::domain::{Masker, SecretBytes};
use crate::ledger::Hook;

/// Bytes of a payload that is kept whole.
const MOST: usize = 64 << 10;

/// What is kept of a delivery.
pub(super) fn original(hook: &Hook, secret: &SecretBytes, headers: &HeaderMap, payload: &Value) -> Value {
    let headers: Map<String, Value> =
        KEPT.iter().filter_map(|name| Some(((*name).to_owned(), headers.get(*name)?.to_str().ok()?.into()))).collect();
    let masker = Masker::new([secret]);
    json!({
        "hook": hook.name,
        "provider": hook.provider,
        "headers": headers,
        "payload": masker.mask_json(&shortened(payload)),
    })
}

/// A payload of at most [`MOST`] bytes: the largest of its members make way for their size.
fn shortened(payload: &Value) -> Value {
    let size = |value: &Value| value.to_string().len();
    let left_out = |size: usize| Value::from(format!("({size} bytes are left out)"));
    let whole = size(payload);
    if whole <= MOST {
        return payload.clone();
    }
    let Value::Object(map) = payload else { return left_out(whole) };
    let mut largest: Vec<(usize, &String)> = map.iter().map(|(name, value)| (size(value), name)).collect();
    largest.sort_unstable_by(|a, b| b.cmp(a));
    let (mut map, mut left) = (map.clone(), whole);
    for (member, name) in largest {
        let short = left_out(member);
        if left <= MOST || size(&short) >= member {
            break;
        }
        left -= member - size(&short);
        map.insert(name.clone(), short);
    }
    // Nothing but a great many small members: none of them would be missed less than another.
    if left > MOST { left_out(whole) } else { Value::Object(map) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_members_make_way() {
        let payload = json!({ "ref": "refs/heads/main", "commits": vec!["x".repeat(100); 2000], "after": "abc" });
        let short = shortened(&payload);
        assert_eq!((&short["ref"], &short["after"]), (&payload["ref"], &payload["after"]));
        assert!(short["commits"].as_str().unwrap().contains("bytes are left out"), "{short}");
        assert!(short.to_string().len() <= MOST);
        assert_eq!(shortened(&json!({ "a": [1, 2] })), json!({ "a": [1, 2] }));
    }

    #[test]
    fn a_payload_of_nothing_but_small_members_is_left_out_as_a_whole() {
        let many: Map<String, Value> = (0..20_000).map(|n| (format!("k{n}"), n.into())).collect();
        assert!(shortened(&Value::Object(many)).is_string());
        assert!(shortened(&json!("x".repeat(MOST))).is_string());
    }
}
