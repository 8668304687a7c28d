//! `until(condition, limit)`: the only wait there is, so that no test depends on a guessed pause.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Pause between two looks at a condition; short beside anything a test measures.
const POLL: Duration = Duration::from_millis(20);

/// Looks at `condition` until it yields a value and returns that value.
///
/// `what` names the awaited state for the error message ("node a is ready").
///
/// # Errors
/// When `condition` fails, at once and with its error (use this for states that can no longer
/// come, such as a process that ended), or when `limit` has passed.
#[expect(clippy::disallowed_methods, reason = "the one pause that every other wait is built on")]
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if started.elapsed() >= limit {
            bail!("waited {:.1} s for: {what}", limit.as_secs_f64());
        }
        std::thread::sleep(POLL);
    }
}

/// Returns at `time`: keeps a sender to its rate. Not for waiting until something has happened; that is [`until`].
#[expect(clippy::disallowed_methods, reason = "paces a load, waits for no state")]
pub fn pace(time: Instant) {
    std::thread::sleep(time.saturating_duration_since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yields_the_value_once_the_condition_holds() {
        let mut looks = 0;
        let value = until("third look", Duration::from_secs(5), || {
            looks += 1;
            Ok((looks == 3).then_some("seen"))
        });
        assert_eq!(value.unwrap(), "seen");
        assert_eq!(looks, 3);
    }

    #[test]
    fn names_the_state_that_never_came() {
        let result = until::<()>("the impossible", Duration::from_millis(30), || Ok(None));
        assert_eq!(result.unwrap_err().to_string(), "waited 0.0 s for: the impossible");
    }

    #[test]
    fn ends_at_once_when_the_state_can_no_longer_come() {
        let started = Instant::now();
        let result = until::<()>("an answer", Duration::from_secs(60), || bail!("process ended"));
        assert_eq!(result.unwrap_err().to_string(), "process ended");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
