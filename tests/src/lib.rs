//! Virtual boards, end to end tests, benches.
