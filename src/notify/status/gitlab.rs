//! A deployment on GitLab, in up to two requests: what is the newest one there, then make it or move it on.
//!
//! GitLab has no field that would name the deployment here, so that the newest one of the environment is asked what it is
//! about. A stack's deployments end one after the other, and are told in that order. So the newest one is this one when it is
//! of this commit and has not ended; when it has ended just as it is to end, this was told before, or there is no news.
//! Otherwise there is none yet.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{Next, Place, Telling};
use crate::notify::form::{Method, Request};

/// A deployment in GitLab's list.
#[derive(Debug, Deserialize)]
struct Listed {
    id: u64,
    sha: String,
    status: String,
    /// The job of a pipeline that made it. Such a one is not for others to move on.
    deployable: Option<IgnoredAny>,
}

impl Listed {
    fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "success" | "failed" | "canceled" | "skipped")
    }
}

/// What comes after these answers.
pub(super) fn next(telling: &Telling<'_>, place: &Place<'_>, state: &str, answers: &[Vec<u8>]) -> Next {
    let deployments = format!("{}/deployments", telling.address());
    let listed = match answers {
        [] => return Next::Send(telling.ask(format!("{deployments}?{}", newest_of(place)))),
        [listed] => listed,
        _ => return Next::Done,
    };
    let Ok(listed) = serde_json::from_slice::<Vec<Listed>>(listed) else { return Next::Senseless };
    let own = listed.first().filter(|newest| newest.sha == place.commit && newest.deployable.is_none());
    match own {
        Some(own) if own.status == state => Next::Done,
        Some(own) if !own.has_ended() => Next::Send(move_on(telling, &format!("{deployments}/{}", own.id), state)),
        _ => Next::Send(telling.send(&deployments, &made(place, state))),
    }
}

fn newest_of(place: &Place<'_>) -> String {
    // Nothing in it would have to be coded but the slash.
    let environment = place.environment.replace('/', "%2F");
    format!("environment={environment}&order_by=id&sort=desc&per_page=1")
}

/// The commit stands for the ref too: it is there whatever becomes of a branch, and a range of versions is no ref.
fn made(place: &Place<'_>, state: &str) -> serde_json::Value {
    json!({
        "environment": place.environment,
        "sha": place.commit,
        "ref": place.commit,
        "tag": false,
        "status": state,
    })
}

fn move_on(telling: &Telling<'_>, url: &str, state: &str) -> Request {
    Request { method: Method::Put, ..telling.send(url, &json!({ "status": state })) }
}
