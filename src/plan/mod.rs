//! Desired and live to steps (pure).
