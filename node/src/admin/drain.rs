//! Reads on when a request is refused before its body has arrived: a sender that does not listen while it sends would
//! otherwise see a broken connection instead of the answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use futures::StreamExt;
use http::header::EXPECT;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long the rest of a body is read and thrown away.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// What a handler has not read of a body.
pub(super) struct Rest(oneshot::Receiver<Body>);

/// Lends the body to whoever handles the request.
pub(super) fn lend(request: Request) -> (Request, Rest) {
    let (sender, receiver) = oneshot::channel();
    let (parts, body) = request.into_parts();
    // A sender that waits for our leave would take reading as that leave.
    let waits = parts.headers.contains_key(EXPECT);
    let lent = Lent { body, begun: !waits, back: Some(sender) };
    (Request::from_parts(parts, Body::new(lent)), Rest(receiver))
}

impl Rest {
    /// Throws away what is left, if the handler is done with it.
    pub(super) async fn drain(mut self) {
        let Ok(body) = self.0.try_recv() else { return };
        let mut pieces = body.into_data_stream();
        // Whoever is slower than this gets the broken connection.
        let _ = timeout(DRAIN_MAX, async { while let Some(Ok(_)) = pieces.next().await {} }).await;
    }
}

/// A body that goes back to its lender when it is dropped before its end.
struct Lent {
    body: Body,
    begun: bool,
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.begun = true;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take().filter(|_| self.begun && !self.body.is_end_stream()) {
            // The lender may be gone with the connection.
            let _ = back.send(std::mem::take(&mut self.body));
        }
    }
}
