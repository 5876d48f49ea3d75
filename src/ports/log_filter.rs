//! What is logged.

/// Says what is logged, and changes it while the process runs.
pub trait LogFilter: Send + Sync + 'static {
    /// The filter as it stands: a level, or a list like `info,skep::source=debug`.
    fn filter(&self) -> String;

    /// From now on this is logged.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the filter.
    fn set(&self, filter: &str) -> Result<(), String>;
}

/// Logs nothing, whatever is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLog;

impl LogFilter for NoLog {
    fn filter(&self) -> String {
        "off".to_owned()
    }

    fn set(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}
