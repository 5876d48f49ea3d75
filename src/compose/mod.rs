//! Compose files to desired objects: text, variables and files in, [`Rendered`](crate::domain::Rendered) out.
//!
//! ```text
//! text ─ yaml ─► tree ─ interpolate ─► extends, include ─► tree ┐
//! text ─ yaml ─► tree ─ interpolate ─► extends, include ─► tree ┴ merge ─► one tree ─ service, … ─► Desired, Material
//! ```
//!
//! Pure: no I/O, no clock, no async. A file that the compose files name is asked for with [`Render::Needs`]; the caller
//! reads it and renders again. Every value of the tree knows its file, line and column, so that an error can name them, and
//! a rendering reports all that is wrong, not the first thing only. A key that is not known is an error, never dropped.
//!
//! What comes out is what `docker stack deploy` sends, field for field, save for these, which have a reason:
//!
//! - configs and secrets are named by their content, because the engine cannot change it in place;
//! - networks that no service uses are left out, as the CLI does, and so are volumes, which the nodes make;
//! - where the specification's rules ([`Compat::Strict`](crate::domain::Compat)) differ from the CLI's own
//!   ([`Compat::Cli`](crate::domain::Compat)): [`Difference`] is the table of it.
//!
//! What becomes of each key stands in [`KEYS`]. Not followed with the CLI's rules either: its schemas by `version` (every
//! key of every version 3 is known), and relative binds, which begin where `x-skep.bindRoot` says, or are refused: no node has
//! the repository.

mod assemble;
mod beyond;
mod binds;
mod compat;
mod container;
mod deploy;
mod dotenv;
mod error;
mod export;
mod field;
mod files;
mod findings;
mod image;
mod input;
mod interpolate;
mod keys;
mod mend;
mod merge;
mod merge_cli;
mod mounts;
mod near;
mod networks;
mod own;
mod path;
mod ports;
mod relations;
mod scalar;
mod service;
mod shell;
mod trail;
mod units;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Desired, Masker, Material, Rendered, SecretBytes};

use self::binds::BindRoot;
use self::field::{Field, Table};
use self::files::{Family, Files};
use self::findings::Findings;
use self::networks::Networks;
use self::service::Surroundings;
use self::yaml::{Node, Position};

pub use self::compat::{Difference, Rule, is_alike};
pub use self::error::{RenderError, RenderErrors};
pub use self::export::{Exported, export, stacks as running_stacks};
pub use self::input::{Attachment, ComposeFile, Confidential, Needs, Render, RenderInput, ValueOf, VariableValue};
pub use self::keys::{Cli, KEYS, Key, Treatment};

/// Renders compose files.
///
/// Gives [`Render::Needs`] when files named by `env_file`, or by the `file` of a config or secret, are not among the
/// attachments, or values of credentials are not there.
///
/// # Errors
/// [`RenderErrors`] with everything that is wrong: YAML, variables, keys, values, references, sizes. Values of secret
/// variables, and what was encrypted, are masked in it.
pub fn render(input: &RenderInput<'_>) -> Result<Render, RenderErrors> {
    let found = Findings::new(input.compat);
    let mut needs = Needs::default();
    let variables = variables(input, &found, &mut needs);
    let mut secrets = input.confidential.values.clone();
    let own =
        variables.values().filter(|value| value.secret).map(|value| SecretBytes::new(value.text.clone().into_bytes()));
    secrets.extend(own);
    let masker = Masker::new(&secrets);
    let input = &RenderInput { variables: &variables, ..*input };
    let result = if needs.is_empty() && found.is_clean() {
        assemble::tree(input, &found, &mut needs).and_then(|tree| convert(input, tree, &found, &mut needs))
    } else {
        None
    };
    if let Some(errors) = found.errors(&masker) {
        return Err(errors);
    }
    match result {
        _ if !needs.is_empty() => Ok(Render::Needs(needs)),
        Some((desired, material)) => {
            Ok(Render::Done(Box::new(Rendered { desired, material, warnings: found.warnings(&masker) })))
        }
        // Nothing is given up without an error having been found.
        None => Err(RenderErrors::from(RenderError {
            file: String::new(),
            line: 0,
            column: 0,
            field: String::new(),
            message: "the files could not be rendered".to_owned(),
            hint: None,
        })),
    }
}

/// The stack's variables over those of the repository's `.env`.
fn variables(input: &RenderInput<'_>, found: &Findings, needs: &mut Needs) -> BTreeMap<String, VariableValue> {
    if !found.strict() {
        return input.variables.clone();
    }
    let mut all = dotenv::of_folder(input.folder, input.variables, input, found, needs).unwrap_or_default();
    let counts = |name: &String| {
        !input.variables.contains_key(name) && input.files.iter().any(|file| file.text.contains(name.as_str()))
    };
    if let Some(name) = all.keys().find(|name| counts(name)) {
        let remark = Difference::DotEnv.remark();
        found.note(".env", format!("`{name}` comes from here. {remark}"));
    }
    all.extend(input.variables.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

fn convert(
    input: &RenderInput<'_>,
    mut tree: Node,
    found: &Findings,
    needs: &mut Needs,
) -> Option<(Desired, Material)> {
    let sleeping = if found.strict() { beyond::put_to_sleep(&mut tree, input.variables) } else { BTreeSet::new() };
    let root = Field::root(&tree, found);
    let top = root.table()?;
    version(&top);
    name(&top, input);
    top.given("include");
    let section = |key| top.get(key).filter(|field| !field.node.is_null());
    let (networks, volumes) = (section("networks"), section("volumes"));
    let (configs, secrets) = (section("configs"), section("secrets"));
    let services = section("services").map(|field| field.entries()).unwrap_or_default();
    top.finish();
    if services.is_empty() {
        let at = top.key_at("services");
        let hint = match sleeping.first() {
            None => "a stack has at least one; to remove a stack, delete it",
            Some(_) => "all wait for a profile: name it in the variable `COMPOSE_PROFILES`",
        };
        found.error(at, "services", "declares no service", hint);
    }
    let mut around = Surroundings {
        input,
        services: services.iter().map(|(entry, _)| entry.key.as_str()).collect(),
        sleeping,
        networks: Networks::read(networks.as_ref(), input.stack),
        volumes: mounts::volumes(volumes.as_ref(), input.stack),
        used_volumes: BTreeSet::new(),
        bind_root: BindRoot::read(&top, input.folder),
        configs: Files::read(Family::Configs, configs.as_ref(), input, needs),
        secrets: Files::read(Family::Secrets, secrets.as_ref(), input, needs),
        needs: std::mem::take(needs),
        ingress: BTreeMap::new(),
        ports_left: ports::MOST,
        order: BTreeMap::new(),
    };
    overrides(input, &around.services, found);
    let mut desired = Desired::empty(input.stack.clone());
    for (entry, field) in &services {
        match around.service(&entry.key, field) {
            Some((service, Some(hook))) => drop(desired.jobs.insert(service.spec.name.clone(), hook.of(service))),
            Some((service, None)) => drop(desired.services.insert(service.spec.name.clone(), service)),
            None => {}
        }
    }
    if !found.strict() {
        deploy::warn_of_single_replicas(&services, input.stack, &desired, top.key_at("services"), found);
    }
    for (entry, field) in
        volumes.iter().flat_map(Field::entries).filter(|(entry, _)| !around.used_volumes.contains(&entry.key))
    {
        found.warn(entry.at, &field.path(), "no service uses this volume");
    }
    (desired.networks, desired.external_networks) = around.networks.finish(networks.as_ref());
    desired.external_configs = around.configs.used_external;
    desired.external_secrets = around.secrets.used_external;
    desired.configs = around.configs.configs;
    desired.secrets = around.secrets.secrets;
    relations::put_in_order(around.order, input.stack, &root, &mut desired);
    *needs = around.needs;
    Some((desired, Material(around.secrets.material)))
}

/// The name of a stack is what it is declared as.
fn name(top: &Table<'_>, input: &RenderInput<'_>) {
    let Some(name) = top.given("name") else { return };
    if name.filled().is_some_and(|name| name != input.stack.as_str()) {
        name.warn(&format!("ignored: the stack's own name, `{}`, counts", input.stack));
    }
}

/// `version` chooses nothing: every key of every version 3 is known.
fn version(top: &Table<'_>) {
    let Some(version) = top.get("version") else { return };
    match version.node.written() {
        Some(text) if !version.found.strict() && text.starts_with('2') => {
            version.error(format!("unsupported Compose file version: {text}"), "remove `version`");
        }
        Some(_) => version.warn("ignored: every key of every version 3 is known; remove it"),
        None => version.error("must be text", "remove it"),
    }
}

/// Refuses overrides of services that do not exist.
fn overrides(input: &RenderInput<'_>, services: &[&str], found: &Findings) {
    for service in input.images.keys().filter(|service| !services.contains(&service.as_str())) {
        let hint = match near::closest(service, services) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the services are {}", services.join(", ")),
        };
        let path = format!("images.{service}");
        found.error(Position::default(), &path, format!("there is no service `{service}`"), hint);
    }
}
