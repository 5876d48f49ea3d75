//! Changes of a snapshot: what Skep itself wrote, a whole listing, one object read again. Each gives the stacks it is worth
//! looking at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::{
    ConfigSpec, LiveConfig, LiveNetwork, LiveSecret, LiveService, NetworkSpec, ObjectKind, ObjectRef, STACK_LABEL,
    SecretSpec, ServiceSpec, Snapshot, VersionIndex,
};
use crate::ports::{Listing, WatchedKind};

impl From<ObjectKind> for WatchedKind {
    fn from(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Network => Self::Network,
            ObjectKind::Config => Self::Config,
            ObjectKind::Secret => Self::Secret,
            ObjectKind::Service => Self::Service,
        }
    }
}

/// An object Skep itself just wrote.
pub(super) enum Wrote {
    /// A network, with the id the engine gave.
    Network(NetworkSpec, String),
    /// A config.
    Config(ConfigSpec, String),
    /// A secret.
    Secret(SecretSpec, String),
    /// A new or changed service.
    Service(Box<ServiceSpec>, String),
    /// Other labels of a config or secret, with its id.
    Labels(ObjectRef, String, BTreeMap<String, String>),
    /// Something was removed.
    Removed(ObjectRef),
}

impl Wrote {
    /// What was written.
    pub(super) fn object(&self) -> ObjectRef {
        match self {
            Self::Network(spec, _) => ObjectRef::new(ObjectKind::Network, &spec.name),
            Self::Config(spec, _) => ObjectRef::new(ObjectKind::Config, &spec.name),
            Self::Secret(spec, _) => ObjectRef::new(ObjectKind::Secret, &spec.name),
            Self::Service(spec, _) => ObjectRef::new(ObjectKind::Service, &spec.name),
            Self::Labels(object, ..) | Self::Removed(object) => object.clone(),
        }
    }

    /// Puts it in; gives what has to be read back.
    pub(super) fn put(self, snapshot: &mut Snapshot) -> Option<(WatchedKind, String)> {
        match self {
            Self::Network(spec, id) => {
                let live = LiveNetwork {
                    id,
                    name: spec.name.clone(),
                    driver: spec.driver,
                    labels: spec.labels,
                    options: spec.options,
                    internal: spec.internal,
                    attachable: spec.attachable,
                    ingress: false,
                    enable_ipv6: spec.enable_ipv6,
                    ipam: spec.ipam,
                };
                snapshot.networks.insert(spec.name, Arc::new(live));
                None
            }
            Self::Config(spec, id) => {
                let live = LiveConfig {
                    id,
                    version: VersionIndex::default(),
                    name: spec.name.clone(),
                    labels: spec.labels,
                    data: spec.data,
                };
                snapshot.configs.insert(spec.name, Arc::new(live));
                None
            }
            Self::Secret(spec, id) => {
                let live = LiveSecret {
                    id,
                    version: VersionIndex::default(),
                    name: spec.name.clone(),
                    labels: spec.labels,
                    driver: spec.driver,
                };
                snapshot.secrets.insert(spec.name, Arc::new(live));
                None
            }
            Self::Service(spec, id) => {
                let before = snapshot.services.get(&spec.name);
                let live = LiveService {
                    id: id.clone(),
                    version: VersionIndex::default(),
                    created_at: before.and_then(|live| live.created_at),
                    updated_at: None,
                    update: None,
                    job_iteration: before.and_then(|live| live.job_iteration),
                    spec: *spec,
                };
                snapshot.services.insert(live.spec.name.clone(), Arc::new(live));
                Some((WatchedKind::Service, id))
            }
            Self::Labels(object, id, labels) => {
                if let Some(live) = snapshot.configs.get_mut(&object.name).filter(|live| live.id == id) {
                    Arc::make_mut(live).labels = labels;
                } else if let Some(live) = snapshot.secrets.get_mut(&object.name).filter(|live| live.id == id) {
                    Arc::make_mut(live).labels = labels;
                }
                Some((object.kind.into(), id))
            }
            Self::Removed(object) => {
                match object.kind {
                    ObjectKind::Network => drop(snapshot.networks.remove(&object.name)),
                    ObjectKind::Config => drop(snapshot.configs.remove(&object.name)),
                    ObjectKind::Secret => drop(snapshot.secrets.remove(&object.name)),
                    ObjectKind::Service => drop(snapshot.services.remove(&object.name)),
                }
                None
            }
        }
    }
}

/// What the snapshot holds of one kind, seen alike for all kinds.
trait Held: PartialEq {
    fn id(&self) -> &str;
    fn name(&self) -> &str;
    /// The stack whose look it is worth when this object changes.
    fn stack(&self) -> Option<&String>;
}

macro_rules! held {
    ($type:ty, $name:expr, $labels:expr) => {
        impl Held for $type {
            fn id(&self) -> &str {
                &self.id
            }
            fn name(&self) -> &str {
                let name: fn(&$type) -> &str = $name;
                name(self)
            }
            fn stack(&self) -> Option<&String> {
                let labels: fn(&$type) -> Option<&String> = $labels;
                labels(self)
            }
        }
    };
}
held!(LiveService, |live| &live.spec.name, |live| live.spec.labels.get(STACK_LABEL));
held!(LiveNetwork, |live| &live.name, |live| live.labels.get(STACK_LABEL));
held!(LiveConfig, |live| &live.name, |live| live.labels.get(STACK_LABEL));
held!(LiveSecret, |live| &live.name, |live| live.labels.get(STACK_LABEL));
// Every change of a node is worth a look at all that is under way: the key stands for that.
held!(crate::domain::Node, |live| &live.id, |live| Some(&live.id));

/// Replaces all of one kind, but for what is protected. Gives the stacks of what changed.
pub(super) fn replace(
    snapshot: &mut Snapshot,
    listing: Listing,
    protected: impl Fn(&ObjectRef) -> bool,
) -> BTreeSet<String> {
    match listing {
        Listing::Services(all) => swap(&mut snapshot.services, all, Some(ObjectKind::Service), protected),
        Listing::Networks(all) => swap(&mut snapshot.networks, all, Some(ObjectKind::Network), protected),
        Listing::Configs(all) => swap(&mut snapshot.configs, all, Some(ObjectKind::Config), protected),
        Listing::Secrets(all) => swap(&mut snapshot.secrets, all, Some(ObjectKind::Secret), protected),
        Listing::Nodes(all) => swap(&mut snapshot.nodes, all, None, protected),
    }
}

fn swap<T: Held>(
    map: &mut BTreeMap<String, Arc<T>>,
    all: Vec<Arc<T>>,
    kind: Option<ObjectKind>,
    protected: impl Fn(&ObjectRef) -> bool,
) -> BTreeSet<String> {
    let before = std::mem::take(map);
    let kept = |name: &str| kind.is_some_and(|kind| protected(&ObjectRef::new(kind, name)));
    for live in all {
        if !kept(live.name()) {
            map.entry(live.name().to_owned()).or_insert(live);
        }
    }
    for (name, live) in &before {
        if kept(name) {
            map.insert(name.clone(), live.clone());
        }
    }
    let mut woken = BTreeSet::new();
    for (name, live) in &*map {
        if before.get(name).is_none_or(|known| !Arc::ptr_eq(known, live) && known != live) {
            woken.extend(live.stack().cloned());
        }
    }
    for (name, live) in &before {
        if !map.contains_key(name) {
            woken.extend(live.stack().cloned());
        }
    }
    woken
}

/// Takes in one object that was read again; `None`: it is gone. Gives the stacks of what changed.
pub(super) fn take_one(
    snapshot: &mut Snapshot,
    kind: WatchedKind,
    id: &str,
    found: Option<Listing>,
    protected: impl Fn(&ObjectRef) -> bool,
) -> BTreeSet<String> {
    match (kind, found) {
        (_, Some(Listing::Services(one))) => put(&mut snapshot.services, one, Some(ObjectKind::Service), protected),
        (_, Some(Listing::Networks(one))) => put(&mut snapshot.networks, one, Some(ObjectKind::Network), protected),
        (_, Some(Listing::Configs(one))) => put(&mut snapshot.configs, one, Some(ObjectKind::Config), protected),
        (_, Some(Listing::Secrets(one))) => put(&mut snapshot.secrets, one, Some(ObjectKind::Secret), protected),
        (_, Some(Listing::Nodes(one))) => put(&mut snapshot.nodes, one, None, protected),
        (WatchedKind::Service, None) => forget(&mut snapshot.services, id),
        (WatchedKind::Network, None) => forget(&mut snapshot.networks, id),
        (WatchedKind::Config, None) => forget(&mut snapshot.configs, id),
        (WatchedKind::Secret, None) => forget(&mut snapshot.secrets, id),
        (WatchedKind::Node, None) => forget(&mut snapshot.nodes, id),
    }
}

fn put<T: Held>(
    map: &mut BTreeMap<String, Arc<T>>,
    one: Vec<Arc<T>>,
    kind: Option<ObjectKind>,
    protected: impl Fn(&ObjectRef) -> bool,
) -> BTreeSet<String> {
    let mut woken = BTreeSet::new();
    for live in one {
        let kept = kind.is_some_and(|kind| protected(&ObjectRef::new(kind, live.name())));
        if kept || map.get(live.name()) == Some(&live) {
            continue;
        }
        woken.extend(live.stack().cloned());
        if let Some(before) = map.insert(live.name().to_owned(), live) {
            woken.extend(before.stack().cloned());
        }
    }
    woken
}

fn forget<T: Held>(map: &mut BTreeMap<String, Arc<T>>, id: &str) -> BTreeSet<String> {
    let gone: Vec<String> = map.values().filter(|live| live.id() == id).map(|live| live.name().to_owned()).collect();
    gone.iter().filter_map(|name| map.remove(name)).filter_map(|live| live.stack().cloned()).collect()
}
