//! The verdict on a deployment under way (pure).
