//! Defects that tests plant: each stands where the code could be wrong, and a simulated schedule has to find it. Without the
//! feature `sim` nothing of them is compiled.

/// Whether the defect of this name is planted. A constant `false` without the feature `sim`.
#[cfg(not(feature = "sim"))]
macro_rules! planted {
    ($name:literal) => {
        false
    };
}

/// Whether the defect of this name is planted: the one that `SKEP_PLANTED` names.
#[cfg(feature = "sim")]
macro_rules! planted {
    ($name:literal) => {
        $crate::planted::is($name)
    };
}

/// Whether the environment names this defect; read once for a process.
#[cfg(feature = "sim")]
pub(crate) fn is(name: &str) -> bool {
    static NAMED: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| std::env::var("SKEP_PLANTED").ok());
    NAMED.as_deref() == Some(name)
}
