//! A deployment on GitHub, in up to three requests: is it there, make it, set its status. Its task names the deployment
//! here, so that it is made only once.

use serde_json::{Value, json};

use super::{DESCRIPTION, Next, Place, Telling};
use crate::notify::form::{Request, cut};

/// What comes after these answers.
pub(super) fn next(telling: &Telling<'_>, place: &Place<'_>, state: &str, answers: &[Vec<u8>]) -> Next {
    let Some(id) = &telling.message.deployment_id else { return Next::Nothing("it is about no deployment") };
    let there = There { telling, place, state, task: format!("skep:{id}") };
    match answers {
        [] => Next::Send(there.find()),
        [found] => Next::Send(number(found).map_or_else(|| there.make(), |number| there.tell(number))),
        // It had to be made.
        [found, made] if number(found).is_none() => {
            number(made).map_or(Next::Senseless, |number| Next::Send(there.tell(number)))
        }
        _ => Next::Done,
    }
}

/// The deployment as it is there.
struct There<'a> {
    telling: &'a Telling<'a>,
    place: &'a Place<'a>,
    state: &'a str,
    task: String,
}

impl There<'_> {
    fn deployments(&self) -> String {
        format!("{}/deployments", self.telling.address())
    }

    fn find(&self) -> Request {
        // Nothing in them would have to be coded but these.
        let (environment, task) = (self.place.environment.replace('/', "%2F"), self.task.replace(':', "%3A"));
        let query = format!("sha={}&environment={environment}&task={task}&per_page=1", self.place.commit);
        self.telling.ask(format!("{}?{query}", self.deployments()))
    }

    /// GitHub is to merge nothing, and to wait for no check: what it is told of goes on anyway.
    fn make(&self) -> Request {
        let mut body = json!({
            "ref": self.place.commit,
            "task": self.task,
            "environment": self.place.environment,
            "auto_merge": false,
            "required_contexts": [],
            "description": cut(&self.telling.message.what, DESCRIPTION),
        });
        if let Some(id) = &self.telling.message.trace_id {
            body["payload"] = json!({ "traceId": id });
        }
        self.telling.send(&self.deployments(), &body)
    }

    fn tell(&self, number: u64) -> Request {
        let mut body = json!({ "state": self.state, "description": self.telling.description() });
        if let Some(url) = &self.telling.message.url {
            body["log_url"] = url.as_str().into();
        }
        self.telling.send(&format!("{}/{number}/statuses", self.deployments()), &body)
    }
}

/// The number of the deployment in an answer: that of the one, or of the first in a list.
fn number(answer: &[u8]) -> Option<u64> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    answer.get(0).unwrap_or(&answer).get("id")?.as_u64()
}
