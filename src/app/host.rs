//! The server side of the binary, as the command line asks for it.

use std::io::Write;
use std::path::Path;

use super::care::{self, CareError, Checked};
use super::examine::examine;
use super::logging;
use super::rotate::rotate_key;
use super::serve::{ServeError, ServeOptions, serve};
use crate::cli::{CheckFound, Folder, Host, HostError, LogFormat, ServeArgs, SimulateArgs};
use crate::ports::{Area, Finding, Health, KEY_VARIABLE};
use crate::seal::{KeyFileError, KeySource};

/// The real server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Server;

impl Host for Server {
    fn serve(&self, folder: Folder<'_>, args: &ServeArgs) -> Result<(), HostError> {
        let key = key_of(folder).map_err(|error| HostError::Usage(error.to_string()))?;
        let format = match args.log_format {
            LogFormat::Text => logging::LogFormat::Text,
            LogFormat::Json => logging::LogFormat::Json,
        };
        let logging = logging::init(format, &args.log);
        let options = ServeOptions {
            listen: args.listen,
            data: folder.data.to_owned(),
            key,
            docker: args.docker.clone(),
            allow_private_addresses: args.allow_private_addresses,
            allow_file_sources: args.allow_file_sources,
            public_url: args.public_url.clone(),
            tls: args.tls_cert.clone().zip(args.tls_key.clone()),
            insecure: args.insecure,
            metrics_public: args.metrics_public,
            graphiql: args.graphiql,
            hook_rate: args.hook_rate,
            logging,
            instance: args.instance.clone(),
            otlp_endpoint: args.otlp_endpoint.clone(),
        };
        serve(options).map_err(|error| match error {
            ServeError::NotLoopback(_) => HostError::Usage(error.to_string()),
            error => HostError::Failed(error.to_string()),
        })
    }

    fn schema(&self) -> String {
        crate::api::graphql::sdl()
    }

    fn rotate_key(&self, folder: Folder<'_>) -> Result<u64, HostError> {
        let key = key_of(folder).map_err(|error| HostError::Usage(error.to_string()))?;
        rotate_key(folder.data, &key).map_err(|error| HostError::Failed(error.to_string()))
    }

    fn backup(&self, data: &Path, to: &mut dyn Write) -> Result<(), HostError> {
        care::back_up(data, to).map_err(failed)
    }

    fn examine(&self, folder: Folder<'_>) -> Vec<Finding> {
        match key_of(folder) {
            Ok(key) => examine(folder.data, &key),
            Err(error) => vec![Finding {
                area: Area::Store,
                subject: KEY_VARIABLE.to_owned(),
                health: Health::Bad,
                message: error.to_string(),
                mend: None,
            }],
        }
    }

    fn check_backup(&self, file: &Path) -> Result<CheckFound, HostError> {
        care::check_backup(file).map(found).map_err(failed)
    }

    fn check(&self, folder: Folder<'_>) -> Result<CheckFound, HostError> {
        let key = key_of(folder).map_err(|error| HostError::Usage(error.to_string()))?;
        care::check(folder.data, &key).map(found).map_err(failed)
    }

    fn restore(&self, file: &Path, copied: Option<&Path>, folder: Folder<'_>) -> Result<CheckFound, HostError> {
        let key = key_of(folder).map_err(|error| HostError::Usage(error.to_string()))?;
        if copied.is_some() == key.is_outside() {
            let text = match copied {
                Some(_) => format!("the key is kept in `{}`, so --key has no place to be copied to", key.shown()),
                None => "--key FILE is needed: the `seal.key` of the folder that the backup was taken from".to_owned(),
            };
            return Err(HostError::Usage(text));
        }
        let restored = care::restore_to(file, copied, &key, folder.data);
        restored.map(|reviewed| found(Checked { reviewed, faults: Vec::new() })).map_err(failed)
    }

    #[cfg(feature = "sim")]
    fn simulate(&self, args: &SimulateArgs, say: &mut dyn FnMut(&str)) -> Result<bool, HostError> {
        super::simulate::simulate(args, say)
    }

    /// The simulator and virtual time are for those who work on Skep: a binary that serves carries neither.
    #[cfg(not(feature = "sim"))]
    fn simulate(&self, _: &SimulateArgs, _: &mut dyn FnMut(&str)) -> Result<bool, HostError> {
        let text = "this binary holds no simulator: build one with `cargo build --features sim`, and ask that one";
        Err(HostError::Failed(text.to_owned()))
    }
}

fn key_of(folder: Folder<'_>) -> Result<KeySource, KeyFileError> {
    KeySource::of(folder.data, folder.seal_key_file, std::env::var(KEY_VARIABLE).ok())
}

fn failed(error: CareError) -> HostError {
    match error {
        CareError::Nothing(_) => HostError::Nothing(error.to_string()),
        error => HostError::Failed(error.to_string()),
    }
}

fn found(checked: Checked) -> CheckFound {
    let Checked { reviewed, faults } = checked;
    CheckFound { revision: reviewed.revision, records: reviewed.records, files: reviewed.files, faults }
}
