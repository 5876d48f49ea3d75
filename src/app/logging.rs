//! Logs on stderr, and what is logged: it can be changed while the server runs.

use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;

use crate::ports::LogFilter;

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

type Reload = dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync;

/// The log of this process. Cheap to clone.
#[derive(Clone)]
pub struct Logging {
    reload: Arc<Reload>,
    filter: Arc<Mutex<String>>,
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logging").field("filter", &self.filter()).finish_non_exhaustive()
    }
}

impl LogFilter for Logging {
    fn filter(&self) -> String {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, filter: &str) -> Result<(), String> {
        let read = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
        let mut known = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        (self.reload)(read)?;
        filter.clone_into(&mut known);
        Ok(())
    }
}

/// Begins to write logs to stderr. `level` is a level (`info`) or a filter (`info,skep=debug`); what makes no sense is
/// `info`. A second call has no effect on what is written.
pub fn init(format: LogFormat, level: &str) -> Logging {
    let (filter, level) = match EnvFilter::try_new(level) {
        Ok(filter) => (filter, level),
        Err(_) => (EnvFilter::new("info"), "info"),
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let (begun, reload): (_, Arc<Reload>) = match format {
        LogFormat::Text => {
            let log = log.with_ansi(colour).with_filter_reloading();
            let handle = log.reload_handle();
            let reload = move |filter: EnvFilter| handle.reload(filter).map_err(|error| error.to_string());
            (log.try_init(), Arc::new(reload))
        }
        LogFormat::Json => {
            let log = log.json().with_filter_reloading();
            let handle = log.reload_handle();
            let reload = move |filter: EnvFilter| handle.reload(filter).map_err(|error| error.to_string());
            (log.try_init(), Arc::new(reload))
        }
    };
    // Somebody else (a test) writes logs already.
    drop(begun);
    Logging { reload, filter: Arc::new(Mutex::new(level.to_owned())) }
}
