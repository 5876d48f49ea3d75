//! Compose files to desired objects (pure).
