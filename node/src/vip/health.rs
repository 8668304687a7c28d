//! Whether this node is fit to be sent machines: it asks its own boot HTTP, as a machine would.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Reporter;

/// How often it asks.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take. Long: a node that is busy serving machines is not ill.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// After so many questions in a row without an answer it is ill.
const FAILURES_MAX: u32 = 3;

/// Asks until told to stop.
pub async fn watch(address: SocketAddr, reporter: Reporter, stop: CancellationToken) {
    let mut failures = 0;
    while stop.run_until_cancelled(tokio::time::sleep(ASK_EVERY)).await.is_some() {
        let answered = tokio::time::timeout(ANSWER_MAX, ask(address)).await.is_ok_and(|asked| asked.is_ok());
        if answered && failures >= FAILURES_MAX {
            tracing::info!(%address, "boot HTTP answers again");
        }
        failures = if answered { 0 } else { failures + 1 };
        if failures == FAILURES_MAX {
            tracing::error!(%address, "boot HTTP of this node does not answer: it will not hold the VIP");
        }
        reporter.set_healthy(failures < FAILURES_MAX);
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /boot.ipxe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    if head.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err(std::io::Error::other("another answer than 200")) }
}
