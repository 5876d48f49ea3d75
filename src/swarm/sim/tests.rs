//! The simulator against what was measured on the engine.
