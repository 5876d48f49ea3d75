//! The use-cases, over a store in memory.

mod applying;
mod catalogs;
mod credentials;
mod deploying;
mod notifiers;
mod reading;
mod relay;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::*;
use crate::domain::{
    Attempt, DeploymentPhase, Digest, Digester, Environment, EnvironmentName, Held, Kept, LastGood, Pointer, Sealed,
    SecretBytes, StackName, StackStatus,
};
use crate::ledger::Batch;
use crate::ports::SealError;
use crate::store::memory::MemoryStore;

/// Seals by turning the bytes around: enough to see that nothing is kept in the clear.
pub(super) struct Reversed;

impl Sealer for Reversed {
    fn seal(&self, clear: &[u8]) -> Result<Sealed, SealError> {
        let turned: Vec<u8> = clear.iter().rev().copied().collect();
        Ok(Sealed { digest: self.digester().digest(clear), sealed: STANDARD.encode(turned) })
    }

    fn open(&self, sealed: &Sealed) -> Result<SecretBytes, SealError> {
        let mut bytes = STANDARD.decode(&sealed.sealed).map_err(|_| SealError::Unreadable)?;
        bytes.reverse();
        Ok(SecretBytes::new(bytes))
    }

    fn digester(&self) -> Digester {
        Digester::new([7; 32])
    }
}

/// A clock that stands at the second of its last id.
pub(super) struct Counter(AtomicU64);

impl Ambient for Counter {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + self.0.load(Ordering::Relaxed) as i64).unwrap()
    }

    fn new_id(&self) -> String {
        format!("{:026}", self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn random(&self) -> u64 {
        4
    }
}

pub(super) struct World {
    pub(super) declare: Declare,
    pub(super) ledger: Ledger,
}

pub(super) const GIT: &str = "\
kind: Stack
name: shop
source: { git: https://example.org/shop.git, ref: main, path: deploy }
variables:
  DOMAIN: shop.example.org
  KEY: { value: hunter2hunter2, secret: true }
images: { web: 1.10 }
";

impl World {
    /// A world with the environment `default`.
    pub(super) async fn new() -> Self {
        let ledger = Ledger::new(Arc::new(MemoryStore::new()));
        let environment = Environment {
            name: EnvironmentName::default(),
            endpoints: vec!["unix:///var/run/docker.sock".into()],
            ..Environment::default()
        };
        ledger.commit(Batch::new().put_environment(&environment)).await.unwrap();
        let ambient = Arc::new(Counter(AtomicU64::new(0)));
        let declare = Declare::new(ledger.clone(), Arc::new(Reversed), ambient, Limits::default());
        Self { declare, ledger }
    }

    /// A world with the stack `shop` of [`GIT`].
    pub(super) async fn with_shop() -> Self {
        let world = Self::new().await;
        world.apply(GIT).await.unwrap();
        world
    }

    pub(super) async fn apply(&self, manifest: &str) -> Result<Applied, DeclareError> {
        self.declare.apply(manifest, &ApplyOptions::default(), &ask()).await
    }

    pub(super) fn shop(&self) -> Stack {
        self.ledger.stack(&shop()).unwrap().unwrap().value
    }

    /// Everything the store holds, as text.
    pub(super) fn everything(&self) -> String {
        let stacks = serde_json::to_string(
            &self.ledger.stacks(None).unwrap().into_iter().map(|it| it.value).collect::<Vec<_>>(),
        );
        let deployments: Vec<_> = self.ledger.deployments(None, 1000).unwrap().into_iter().map(|it| it.value).collect();
        let events = self.ledger.events(None, false, 1000).unwrap();
        format!(
            "{} {} {}",
            stacks.unwrap(),
            serde_json::to_string(&deployments).unwrap(),
            serde_json::to_string(&events).unwrap()
        )
    }

    /// What a controller would write when a deployment has converged on a version.
    pub(super) async fn converge(&self, id: &DeploymentId, version: &str) {
        let mut deployment = self.ledger.deployment(id).unwrap().unwrap().value;
        deployment.phase = DeploymentPhase::Converged;
        deployment.version.digest = Some(Digest::of(version.as_bytes()));
        deployment.kept = Some(Kept(version.to_owned()));
        let pointer = pointer(&deployment);
        let status = StackStatus {
            observed_generation: deployment.generation,
            attempt: Some(attempt(&deployment, false)),
            live: Some(pointer.clone()),
            last_good: Some(LastGood {
                version: pointer,
                kept: Kept(version.to_owned()),
                since: Timestamp::UNIX_EPOCH,
            }),
            ..StackStatus::default()
        };
        self.ledger.commit(Batch::new().put_deployment(&deployment).put_status(&shop(), &status)).await.unwrap();
    }

    /// What a controller would write when a version has failed and is held.
    pub(super) async fn hold(&self, id: &DeploymentId, version: &str) {
        let mut deployment = self.ledger.deployment(id).unwrap().unwrap().value;
        deployment.phase = DeploymentPhase::RolledBack;
        deployment.version.digest = Some(Digest::of(version.as_bytes()));
        let mut status = self.ledger.status(&shop()).unwrap().map(|it| it.value).unwrap_or_default();
        status.attempt = Some(attempt(&deployment, false));
        status.held =
            vec![Held { version: pointer(&deployment), reason: "it failed".into(), since: Timestamp::UNIX_EPOCH }];
        self.ledger.commit(Batch::new().put_deployment(&deployment).put_status(&shop(), &status)).await.unwrap();
    }
}

fn pointer(deployment: &Deployment) -> Pointer {
    Pointer {
        revision: None,
        images: Vec::new(),
        followed: Default::default(),
        digest: deployment.version.digest.clone(),
        deployment: deployment.id.clone(),
        generation: deployment.generation,
    }
}

fn attempt(deployment: &Deployment, automatic_rollback: bool) -> Attempt {
    Attempt {
        id: deployment.id.clone(),
        phase: deployment.phase,
        trigger: deployment.origin.trigger,
        automatic_rollback,
    }
}

pub(super) fn shop() -> StackKey {
    StackKey { environment: EnvironmentName::default(), name: StackName::parse("shop").unwrap() }
}

pub(super) fn ask() -> Ask {
    Ask::new(Actor::new("admin"), Trigger::Api)
}

pub(super) fn code(error: &DeclareError) -> Code {
    error.refusals().first().map(|refusal| refusal.code).unwrap()
}

pub(super) fn to_ref(wanted: &str) -> DeployRequest {
    DeployRequest { wanted: Some(wanted.into()), ..DeployRequest::default() }
}
