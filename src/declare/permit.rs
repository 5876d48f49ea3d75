//! Whether the asker may. What he may not see is not there for him; what he sees and may not do is refused.

use super::{Ask, Code, Declare, DeclareError, Refusal};
use crate::domain::{Access, EnvironmentName, Place, Reach};

impl Declare {
    /// Refuses what the asker may not do. Asked before anything is read, so that the answer is the same whether the thing is
    /// there or not.
    ///
    /// # Errors
    /// [`DeclareError::Refused`], as `NotFound` or `Forbidden`.
    pub(super) fn permit(&self, ask: &Ask, access: Access, place: Place<'_>) -> Result<(), DeclareError> {
        if ask.grant.may(access, place) {
            return Ok(());
        }
        match place {
            Place::Stack(key) if !ask.grant.may(Access::See, place) => Err(self.no_such_stack(key, &ask.grant)),
            Place::Environment(name) if !ask.grant.may(Access::See, place) => Err(no_such_environment(name)),
            _ => Err(forbidden(ask, access).into()),
        }
    }
}

/// The refusal for an environment that is not there.
pub(super) fn no_such_environment(name: &EnvironmentName) -> DeclareError {
    let hint = "see what there is: `skep get environments`";
    let message = format!("there is no environment `{name}`");
    Refusal::new(Code::NotFound, message).field("environment").hint(hint).into()
}

/// The refusal for someone who may not.
pub(super) fn forbidden(ask: &Ask, access: Access) -> Refusal {
    let (role, least) = (ask.grant.role, access.least());
    let message = format!("`{}` may not: it takes the right {access:?}", ask.actor.name);
    let hint = match access.reach() {
        _ if role < least => format!("its role is {role:?}; ask an admin for a token with the role {least:?}"),
        Reach::Place => "its token does not reach there; ask an admin for one with a wider scope".to_owned(),
        Reach::Environment => "its token does not reach every stack of the environment".to_owned(),
        Reach::Installation => "its token does not reach the whole installation".to_owned(),
    };
    Refusal::new(Code::Forbidden, message).hint(hint)
}
