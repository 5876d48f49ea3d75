//! What a person, a hook or a catalog asked for, written down.
