//! Sealing with the installation key.
