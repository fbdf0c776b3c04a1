//! The time that a build gives to what it makes: `SOURCE_DATE_EPOCH`, as other tools read it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The time in the environment, if one is set: seconds since 1970.
pub fn from_environment() -> Result<Option<u64>> {
    let Ok(text) = std::env::var(VARIABLE) else {
        return Ok(None);
    };
    let time = text.parse().with_context(|| {
        format!(
            "{VARIABLE}={text} is not a number of seconds since 1970; next: set it to one, or unset it"
        )
    })?;
    Ok(Some(time))
}

/// The time in the environment, or the present one.
pub fn or_now() -> Result<u64> {
    match from_environment()? {
        Some(time) => Ok(time),
        None => now(),
    }
}

/// The present time, seconds since 1970.
pub fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
