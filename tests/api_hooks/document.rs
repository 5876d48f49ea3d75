//! What `swagger/swagger.yaml` says of a delivery.

use super::http::Document;
use super::providers::{sent, told};

/// What senders send that Skep does not read: a word of the same event, the kind of the body, the version of a form.
const NOT_READ: [&str; 3] = ["content-type", "x-gitlab-event", "x-forgejo-event"];

#[test]
fn every_header_that_proves_or_names_a_delivery_is_documented() {
    let documented = Document::read().headers("POST", "/hooks/{name}");
    let mut sent_ones: Vec<&str> = vec!["webhook-id", "webhook-timestamp", "webhook-signature", "x-gitlab-event-uuid"];
    sent_ones.extend(["ce-id", "ce-source", "ce-type"]);
    for (it, _) in sent() {
        sent_ones.extend(it.headers.iter().map(|(name, _)| *name).chain([(it.proof)("").0]));
    }
    for it in told() {
        sent_ones.extend(it.headers.iter().map(|(name, _)| *name).chain([it.id, (it.proof)("").0]));
    }
    // A parameter of this name would mean nothing to OpenAPI; the text has it.
    sent_ones.retain(|name| *name != "authorization" && !NOT_READ.contains(name));
    for name in &sent_ones {
        assert!(documented.contains(*name), "{name}");
    }
    let more: Vec<&String> = documented.iter().filter(|name| !sent_ones.contains(&name.as_str())).collect();
    assert_eq!(more, ["ce-subject"], "what is documented is sent, too");
}
