//! The ioctls: the one place of the agent with `unsafe`.
