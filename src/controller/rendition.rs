//! Desired objects in memory, and sealed on disk.
//!
//! Rendering asks for files until it has them all (`Needs`), so that the renderer itself reads nothing. It runs beside
//! the passes: a repository that is slow to fetch holds no worker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::confidence::Confidence;
use crate::compose::{Attachment, ComposeFile, Needs, Render, RenderErrors, RenderInput, VariableValue, render};
use crate::domain::{
    Desired, Digest, Digester, GitSource, Kept, Masker, Material, Revision, Sealed, SecretBytes, ServiceField,
    Source as Where, StackKey, StackSpec, Variable,
};
use crate::ledger::{Ledger, LedgerError, LedgerKeyring};
use crate::ports::{CommitInfo, Decrypter, FileError, SealError, Sealer, Source, SourceError};

/// One version, ready to be planned for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rendition {
    /// The desired objects.
    pub desired: Desired,
    /// Contents of its secrets.
    pub material: Material,
    /// Its keyed digest.
    pub digest: Digest,
    /// Remarks of the renderer.
    pub warnings: Vec<String>,
    /// Values that must not be shown.
    pub secrets: Vec<SecretBytes>,
    /// Its images were looked up, and pinned as far as their registries know them.
    pub pinned: bool,
}

impl Rendition {
    /// The same version for one who leaves these fields as others have made them. Its digest stays that of the version.
    #[must_use]
    pub(super) fn leaving(&self, fields: &[ServiceField]) -> Self {
        let mut version = self.clone();
        version.desired.ignore(fields);
        version
    }

    /// Masks the secret values this version knows of.
    #[must_use]
    pub(super) fn masker(&self) -> Masker {
        Masker::new(self.secrets.iter().chain(self.material.0.values()))
    }
}

/// Why there is no rendition.
#[derive(Debug, Clone, PartialEq, Error)]
pub(super) enum RenditionError {
    /// The repository did not give the files.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A compose file is not there, or cannot be read.
    #[error("{0}")]
    File(String),
    /// The files do not render.
    #[error("{0}")]
    Render(String),
    /// A secret variable cannot be opened, or a kept version cannot be read.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Renders versions.
pub(super) struct Renderer {
    source: Arc<dyn Source>,
    decrypter: Arc<dyn Decrypter>,
    keyring: LedgerKeyring,
    sealer: Arc<dyn Sealer>,
    ledger: Ledger,
}

impl Renderer {
    /// A renderer over these.
    pub(super) fn new(
        source: Arc<dyn Source>,
        decrypter: Arc<dyn Decrypter>,
        sealer: Arc<dyn Sealer>,
        ledger: Ledger,
    ) -> Self {
        let keyring = LedgerKeyring::new(ledger.clone(), sealer.clone());
        Self { source, decrypter, keyring, sealer, ledger }
    }

    /// The digester of this installation.
    #[must_use]
    pub(super) fn digester(&self) -> Digester {
        self.sealer.digester()
    }

    /// The commit a ref stands at now.
    ///
    /// # Errors
    /// [`RenditionError::Source`].
    pub(super) async fn resolve(&self, git: &GitSource) -> Result<Revision, RenditionError> {
        Ok(self.source.resolve(git).await?)
    }

    /// The refs of a repository, now.
    ///
    /// # Errors
    /// [`RenditionError::Source`].
    pub(super) async fn refs(&self, git: &GitSource) -> Result<BTreeMap<String, String>, RenditionError> {
        Ok(self.source.refs(git).await?)
    }

    /// The commit, if it is in the local copy of its repository. It is not worth asking a host for.
    pub(super) async fn commit(&self, git: &GitSource, revision: &Revision) -> Option<CommitInfo> {
        self.source.commit_info(git, revision).await.ok()
    }

    /// Renders a spec at a revision (`None` for an inline source).
    ///
    /// # Errors
    /// [`RenditionError`].
    pub(super) async fn render(
        &self,
        stack: &StackKey,
        spec: &StackSpec,
        revision: Option<&Revision>,
    ) -> Result<Rendition, RenditionError> {
        let (variables, mut secrets) = self.variables(spec)?;
        let mut confidence = Confidence::new(self.decrypter.as_ref(), &self.keyring, stack, spec.decryption.as_ref());
        let mut attachments = BTreeMap::new();
        let (folder, texts) = match (&spec.source, revision) {
            (Where::Inline(text), _) => (String::new(), vec![("inline".to_owned(), text.clone())]),
            (Where::Git(git), Some(revision)) => self.compose_files(git, revision, spec, &mut attachments).await?,
            (Where::Git(git), None) => {
                return Err(RenditionError::File(format!("`{}` has not been resolved to a commit yet", git.wanted)));
            }
        };
        let images = spec.named_images();
        let files: Vec<ComposeFile<'_>> = texts.iter().map(|(name, text)| ComposeFile { name, text }).collect();
        attachments = confidence.opened(attachments);
        loop {
            let input = RenderInput {
                stack: &stack.name,
                files: &files,
                variables: &variables,
                images: &images,
                compat: spec.compat,
                unset: spec.policy.unset_variables,
                attachments: &attachments,
                folder: &folder,
                confidential: &confidence.found,
                digester: &self.sealer.digester(),
            };
            match render(&input).map_err(|errors: RenderErrors| RenditionError::Render(errors.to_string()))? {
                Render::Done(mut done) => {
                    done.desired.ignore(&spec.policy.ignore);
                    let digest = done.desired.digest(&self.sealer.digester());
                    let warnings = done.warnings.iter().map(|warning| {
                        format!("{}:{}:{}: {}", warning.file, warning.line, warning.column, warning.message)
                    });
                    let warnings = warnings.collect();
                    let (desired, material) = (done.desired, done.material);
                    secrets.extend(confidence.found.values);
                    return Ok(Rendition { desired, material, digest, warnings, secrets, pinned: false });
                }
                Render::Needs(Needs { files, values }) => {
                    let missing: BTreeSet<String> =
                        files.into_iter().filter(|path| !attachments.contains_key(path)).collect();
                    if !confidence.take(values) && missing.is_empty() {
                        return Err(RenditionError::File("the renderer asked twice for the same file".into()));
                    }
                    if !missing.is_empty() {
                        attachments.extend(confidence.opened(self.attachments(spec, revision, &missing).await?));
                    }
                }
            }
        }
    }

    fn variables(
        &self,
        spec: &StackSpec,
    ) -> Result<(BTreeMap<String, VariableValue>, Vec<SecretBytes>), RenditionError> {
        let mut values = BTreeMap::new();
        let mut secrets = Vec::new();
        for (name, variable) in &spec.variables {
            let value = match variable {
                Variable::Plain(text) => VariableValue { text: text.clone(), secret: false },
                Variable::Secret(sealed) => {
                    let clear = self.sealer.open(sealed)?;
                    let text = clear.expose_text().unwrap_or_default().to_owned();
                    secrets.push(clear);
                    VariableValue { text, secret: true }
                }
            };
            values.insert(name.clone(), value);
        }
        Ok((values, secrets))
    }

    /// The folder of the first compose file, and all of them. The `.env` beside it is read along.
    async fn compose_files(
        &self,
        git: &GitSource,
        revision: &Revision,
        spec: &StackSpec,
        attachments: &mut BTreeMap<String, Attachment>,
    ) -> Result<(String, Vec<(String, String)>), RenditionError> {
        let inside = |folder: &str, name: &str| match folder {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        };
        let named: Vec<String> = spec.compose.iter().map(|name| inside(&git.path, name)).collect();
        let folder = named.first().and_then(|path| path.rsplit_once('/')).map_or("", |(folder, _)| folder).to_owned();
        let values = inside(&folder, ".env");
        let paths = named.iter().chain([&values]).cloned().collect();
        let mut found = self.source.read(git, revision, &paths).await?;
        let mut texts = Vec::new();
        for path in named {
            let bytes = match found.get(&path) {
                Some(Ok(bytes)) => bytes.to_vec(),
                Some(Err(error)) => return Err(RenditionError::File(error.to_string())),
                None => return Err(RenditionError::File(FileError::NotFound(path).to_string())),
            };
            let text =
                String::from_utf8(bytes).map_err(|_| RenditionError::File(format!("`{path}` is not UTF-8 text")))?;
            texts.push((path, text));
        }
        if let Some(file) = found.remove(&values) {
            attachments.insert(values, file.map_err(|error| error.to_string()));
        }
        Ok((folder, texts))
    }

    async fn attachments(
        &self,
        spec: &StackSpec,
        revision: Option<&Revision>,
        paths: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Attachment>, RenditionError> {
        match (&spec.source, revision) {
            (Where::Git(git), Some(revision)) => {
                let found = self.source.read(git, revision, paths).await?;
                Ok(found.into_iter().map(|(path, file)| (path, file.map_err(|error| error.to_string()))).collect())
            }
            _ => {
                let none = |path: &String| {
                    (path.clone(), Err("an inline source has no files beside it; use a git source".to_owned()))
                };
                Ok(paths.iter().map(none).collect())
            }
        }
    }

    /// Seals a rendition, so that it can be kept with the record that refers to it.
    ///
    /// # Errors
    /// [`RenditionError`].
    pub(super) fn seal(&self, rendition: &Rendition) -> Result<Sealed, RenditionError> {
        let seal = |secret: &SecretBytes| self.sealer.seal(secret.expose());
        let document = KeptVersion {
            desired: rendition.desired.clone(),
            material: rendition
                .material
                .0
                .iter()
                .map(|(name, secret)| Ok((name.clone(), seal(secret)?)))
                .collect::<Result<_, SealError>>()?,
            secrets: rendition.secrets.iter().map(seal).collect::<Result<_, _>>()?,
            warnings: rendition.warnings.clone(),
        };
        let clear = SecretBytes::new(serde_json::to_vec(&document).unwrap_or_default());
        Ok(self.sealer.seal(clear.expose())?)
    }

    /// Seals what is kept.
    pub(super) fn sealer(&self) -> &dyn Sealer {
        self.sealer.as_ref()
    }

    /// Reads a kept rendition back.
    ///
    /// # Errors
    /// [`RenditionError`].
    pub(super) fn kept(&self, kept: &Kept) -> Result<Rendition, RenditionError> {
        let unreadable = |_| RenditionError::Seal(SealError::Unreadable);
        let clear = self.sealer.open(&self.ledger.kept(kept)?)?;
        let document: KeptVersion = serde_json::from_slice(clear.expose()).map_err(unreadable)?;
        let mut material = Material::default();
        for (name, sealed) in &document.material {
            material.0.insert(name.clone(), self.sealer.open(sealed)?);
        }
        let secrets = document.secrets.iter().map(|sealed| self.sealer.open(sealed)).collect::<Result<_, _>>()?;
        let digest = document.desired.digest(&self.sealer.digester());
        let (desired, warnings) = (document.desired, document.warnings);
        Ok(Rendition { desired, material, digest, warnings, secrets, pinned: true })
    }
}

/// The document that is sealed as a whole.
#[derive(Serialize, Deserialize)]
struct KeptVersion {
    desired: Desired,
    material: BTreeMap<String, Sealed>,
    secrets: Vec<Sealed>,
    warnings: Vec<String>,
}
