//! The server side of the binary, as the command line asks for it.

use std::io::Write;
use std::path::Path;

use super::care::{self, CareError, Checked};
use super::examine::examine;
use super::logging;
use super::rotate::rotate_key;
use super::serve::{ServeError, ServeOptions, serve};
use crate::cli::{CheckFound, Host, HostError, LogFormat, ServeArgs, SimulateArgs};
use crate::ports::Finding;

/// The real server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Server;

impl Host for Server {
    fn serve(&self, data: &Path, args: &ServeArgs) -> Result<(), HostError> {
        let format = match args.log_format {
            LogFormat::Text => logging::LogFormat::Text,
            LogFormat::Json => logging::LogFormat::Json,
        };
        let logging = logging::init(format, &args.log);
        let options = ServeOptions {
            listen: args.listen,
            data: data.to_owned(),
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

    fn rotate_key(&self, data: &Path) -> Result<u64, HostError> {
        rotate_key(data).map_err(|error| HostError::Failed(error.to_string()))
    }

    fn backup(&self, data: &Path, to: &mut dyn Write) -> Result<(), HostError> {
        care::back_up(data, to).map_err(failed)
    }

    fn examine(&self, data: &Path) -> Vec<Finding> {
        examine(data)
    }

    fn check_backup(&self, file: &Path) -> Result<CheckFound, HostError> {
        care::check_backup(file).map(found).map_err(failed)
    }

    fn check(&self, data: &Path) -> Result<CheckFound, HostError> {
        care::check(data).map(found).map_err(failed)
    }

    fn restore(&self, file: &Path, key: &Path, data: &Path) -> Result<CheckFound, HostError> {
        let restored = care::restore_to(file, key, data);
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
