//! The parts of a running node: named, watched, and stopped in a written order.
//!
//! If one part ends on its own, all end: a node that has lost its TFTP server but still holds DHCP would be worse than
//! none. Stopping goes through the parts in the order they were given, each with its own deadline.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// One part that runs until it is told to stop.
struct Part {
    name: &'static str,
    stop: CancellationToken,
    deadline: Duration,
    handle: JoinHandle<anyhow::Result<()>>,
}

/// All parts of a node, in the order they will be stopped.
#[derive(Default)]
pub struct Tasks {
    parts: Vec<Part>,
}

impl Tasks {
    /// Starts a part. `run` is given the token that tells it to stop, and `deadline` to do so.
    pub fn start<F>(&mut self, name: &'static str, deadline: Duration, run: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let handle = tokio::spawn(run(stop.clone()));
        self.parts.push(Part { name, stop, deadline, handle });
    }

    /// Waits until a part ends although nobody told it to; answers which, and why.
    pub async fn first_to_end(&mut self) -> (&'static str, anyhow::Error) {
        let waits = self.parts.iter_mut().map(|part| {
            let name = part.name;
            let handle = &mut part.handle;
            Box::pin(async move { (name, handle.await) })
        });
        if waits.len() == 0 {
            return std::future::pending().await;
        }
        let ((name, ended), at, _) = futures::future::select_all(waits).await;
        self.parts.remove(at);
        let error = match ended {
            Ok(Ok(())) => anyhow::anyhow!("it ended without being told to"),
            Ok(Err(error)) => error,
            Err(error) => anyhow::anyhow!("it panicked: {error}"),
        };
        (name, error)
    }

    /// Stops all parts, one after the other; a part that misses its deadline is dropped with a warning.
    pub async fn stop(self) {
        for mut part in self.parts {
            part.stop.cancel();
            match tokio::time::timeout(part.deadline, &mut part.handle).await {
                Ok(Ok(Ok(()))) => info!(part = part.name, "stopped"),
                Ok(Ok(Err(error))) => warn!(part = part.name, error = format!("{error:#}"), "stopped with an error"),
                Ok(Err(error)) => warn!(part = part.name, %error, "panicked while stopping"),
                Err(_) => {
                    part.handle.abort();
                    warn!(part = part.name, deadline = ?part.deadline, "did not stop in time and was dropped");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_named() {
        let mut tasks = Tasks::default();
        tasks.start("steady", Duration::from_secs(1), |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.start("fragile", Duration::from_secs(1), |_| async { anyhow::bail!("the socket is gone") });
        let (name, error) = tasks.first_to_end().await;
        assert_eq!((name, error.to_string().as_str()), ("fragile", "the socket is gone"));
        tasks.stop().await;
    }

    #[tokio::test]
    async fn parts_stop_in_the_order_they_were_given_and_stragglers_are_dropped() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::default();
        for name in ["first", "second"] {
            let order = order.clone();
            tasks.start(name, Duration::from_secs(5), move |stop| async move {
                stop.cancelled().await;
                order.lock().expect("no one panics holding it").push(name);
                Ok(())
            });
        }
        tasks.start("stubborn", Duration::from_millis(10), |_| std::future::pending());
        tasks.stop().await;
        assert_eq!(*order.lock().expect("no one panics holding it"), ["first", "second"]);
    }
}
