//! Compose files to desired objects: text, variables and files in, [`Rendered`](crate::domain::Rendered) out.
//!
//! ```text
//! text ─ yaml ─► tree ─ interpolate ─► tree ┐
//! text ─ yaml ─► tree ─ interpolate ─► tree ┴ merge ─► one tree ─ service, networks, files, … ─► Desired, Material
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
//! - by the specification's rules ([`Compat::Strict`](crate::domain::Compat)) what the CLI drops and what changes a
//!   service's meaning is refused; `environment: { K: "" }` stays empty; variables may stand inside defaults; several
//!   files are merged as the specification has it;
//! - beyond the CLI's schema, but in the specification: `content` and `environment` of configs, `environment` of secrets,
//!   `env_file` with `required`, `depends_on` as a map, `enable_ipv6`, numbers in quotes, `!reset` and `!override`.
//!
//! With the CLI's quirks ([`Compat::Cli`](crate::domain::Compat)) follow: the interpolation grammar, an empty
//! `environment` value taken from a variable, casts of interpolated text only, one-letter volume names read as drives,
//! and warnings in place of errors for what the CLI ignores. Not followed yet: its merging of several files (empty, zero
//! and false values that do not override; whole top-level entries replaced; ports merged by published port alone; lists
//! appended with repetitions), its schemas by `version`, and relative binds, which no node could resolve.

mod container;
mod deploy;
mod error;
mod field;
mod files;
mod findings;
mod image;
mod input;
mod interpolate;
mod merge;
mod mounts;
mod networks;
mod path;
mod ports;
mod refused;
mod scalar;
mod service;
mod shell;
mod units;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Desired, Masker, Material, Rendered, SecretBytes};

use self::field::{Field, Table};
use self::files::{Family, Files};
use self::findings::Findings;
use self::interpolate::Variables;
use self::networks::Networks;
use self::service::Surroundings;
use self::yaml::{Node, Position};

pub use self::error::{RenderError, RenderErrors};
pub use self::input::{Attachment, ComposeFile, Render, RenderInput, VariableValue};

/// Renders compose files.
///
/// Gives [`Render::Needs`] when files named by `env_file`, or by the `file` of a config or secret, are not among the
/// attachments.
///
/// # Errors
/// [`RenderErrors`] with everything that is wrong: YAML, variables, keys, values, references, sizes. Values of secret
/// variables are masked in it.
pub fn render(input: &RenderInput<'_>) -> Result<Render, RenderErrors> {
    let found = Findings::new(input.files.iter().map(|file| file.name).collect(), input.compat);
    let result = tree(input, &found).and_then(|tree| convert(input, &tree, &found));
    let secrets: Vec<SecretBytes> = input
        .variables
        .values()
        .filter(|value| value.secret)
        .map(|value| SecretBytes::new(value.text.clone().into_bytes()))
        .collect();
    let masker = Masker::new(&secrets);
    if let Some(errors) = found.errors(&masker) {
        return Err(errors);
    }
    match result {
        Some(Converted { needs, .. }) if !needs.is_empty() => Ok(Render::Needs(needs)),
        Some(Converted { desired, material, .. }) => {
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

/// All files, parsed, interpolated and merged.
fn tree(input: &RenderInput<'_>, found: &Findings<'_>) -> Option<Node> {
    let variables = Variables { values: input.variables, unset: input.unset };
    let mut merged: Option<Node> = None;
    let mut whole = true;
    for (index, file) in input.files.iter().enumerate() {
        match yaml::parse(index, file.text) {
            Ok(mut node) => {
                interpolate::interpolate(&mut node, "", &variables, found);
                merged = Some(match merged {
                    Some(base) => merge::merge(base, node),
                    None => node,
                });
            }
            Err(faults) => {
                whole = false;
                for fault in faults {
                    found.error(fault.at, &fault.field, fault.message, fault.hint);
                }
            }
        }
    }
    if input.files.is_empty() {
        found.error(Position::default(), "", "there is no compose file", "name one in `compose`");
    }
    let mut merged = merged.filter(|_| whole)?;
    merge::settle(&mut merged);
    Some(merged)
}

struct Converted {
    desired: Desired,
    material: Material,
    needs: BTreeSet<String>,
}

fn convert(input: &RenderInput<'_>, tree: &Node, found: &Findings<'_>) -> Option<Converted> {
    let root = Field::root(tree, found);
    let top = root.table()?;
    version(&top);
    top.refuse(&[
        ("name", "remove it: the stack's own name counts"),
        ("include", "list the files in `compose`"),
        ("models", "remove it"),
    ]);
    let section = |key| top.get(key).filter(|field| !field.node.is_null());
    let (networks, volumes) = (section("networks"), section("volumes"));
    let (configs, secrets) = (section("configs"), section("secrets"));
    let services = section("services").map(|field| field.entries()).unwrap_or_default();
    top.finish();
    if services.is_empty() {
        let at = top.key_at("services");
        found.error(at, "services", "declares no service", "a stack has at least one; to remove a stack, delete it");
    }
    let mut needs = BTreeSet::new();
    let mut around = Surroundings {
        input,
        services: services.iter().map(|(entry, _)| entry.key.as_str()).collect(),
        networks: Networks::read(networks.as_ref(), input.stack),
        volumes: mounts::volumes(volumes.as_ref(), input.stack),
        used_volumes: BTreeSet::new(),
        configs: Files::read(Family::Configs, configs.as_ref(), input, &mut needs),
        secrets: Files::read(Family::Secrets, secrets.as_ref(), input, &mut needs),
        needs,
        ingress: BTreeMap::new(),
    };
    overrides(input, &around.services, found);
    let mut desired = Desired::empty(input.stack.clone());
    for (entry, field) in &services {
        if let Some(service) = around.service(&entry.key, field) {
            desired.services.insert(service.spec.name.clone(), service);
        }
    }
    for (entry, field) in
        volumes.iter().flat_map(Field::entries).filter(|(entry, _)| !around.used_volumes.contains(&entry.key))
    {
        found.warn(entry.at, &field.path, "no service uses this volume");
    }
    (desired.networks, desired.external_networks) = around.networks.finish(networks.as_ref());
    desired.external_configs = around.configs.used_external;
    desired.external_secrets = around.secrets.used_external;
    desired.configs = around.configs.configs;
    desired.secrets = around.secrets.secrets;
    Some(Converted { desired, material: Material(around.secrets.material), needs: around.needs })
}

/// `version` chooses nothing: every key of every version 3 is known.
fn version(top: &Table<'_>) {
    let Some(version) = top.get("version") else { return };
    let strict = version.found.strict();
    match version.node.written() {
        Some(text) if !strict && text.starts_with('2') => {
            version.error(format!("unsupported Compose file version: {text}"), "remove `version`");
        }
        Some(_) if strict => version.warn("ignored: every key of every version 3 is known; remove it"),
        Some(_) => {}
        None => version.error("must be text", "remove it"),
    }
}

/// Refuses overrides of services that do not exist.
fn overrides(input: &RenderInput<'_>, services: &[&str], found: &Findings<'_>) {
    for service in input.images.keys().filter(|service| !services.contains(&service.as_str())) {
        let hint = match field::closest(service, services) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the services are {}", services.join(", ")),
        };
        let path = format!("images.{service}");
        found.error(Position::default(), &path, format!("there is no service `{service}`"), hint);
    }
}
