//! Places at which a test has this very process killed: before and after each write, call and sync. Without the feature
//! `sim`, which no released binary has, nothing of them is compiled.
//!
//! `SKEP_KILL` names a file. As long as it is not there, places are passed as if they were not. Once it is, each place that
//! is passed is noted in `FILE.passed`, a line each; and when the file's text is `N NAME`, the process gets SIGKILL at the
//! N-th passing of the place of this name.

/// A place to be killed at. Takes an expression that is evaluated only when a test asks for it.
#[cfg(not(feature = "sim"))]
macro_rules! kill_point {
    ($name:expr) => {};
}

/// A place to be killed at. Takes an expression that is evaluated only when a test asks for it.
#[cfg(feature = "sim")]
macro_rules! kill_point {
    ($name:expr) => {
        if $crate::killed::asked() {
            $crate::killed::pass(AsRef::<str>::as_ref(&$name));
        }
    };
}

#[cfg(feature = "sim")]
pub(crate) use watched::{asked, pass};

#[cfg(feature = "sim")]
mod watched {
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::sync::{LazyLock, Mutex, PoisonError};

    static FILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("SKEP_KILL").map(PathBuf::from));
    static PASSED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

    /// Whether a test wants places to be noted.
    pub(crate) fn asked() -> bool {
        FILE.as_deref().is_some_and(std::path::Path::exists)
    }

    /// Passes a place, or dies there.
    pub(crate) fn pass(name: &str) {
        let Some(file) = FILE.as_deref() else { return };
        let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passed.entry(name.to_owned()).or_default();
        *count += 1;
        let note = file.with_extension("passed");
        let noted = File::options().create(true).append(true).open(note);
        let noted = noted.and_then(|mut note| note.write_all(format!("{count} {name}\n").as_bytes()));
        if let Err(error) = noted {
            tracing::error!(%error, "a place cannot be noted");
        }
        if fs::read_to_string(file).is_ok_and(|wanted| wanted.trim() == format!("{count} {name}")) {
            // Its lock is held, so that no other thread passes a place on the way out.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }
}
