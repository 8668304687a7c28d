//! Serves the bytes of assets: whole, in ranges, or not at all, but never short.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use raft::state::{Asset, Stored};
use tracing::{error, warn};

use super::body::Body;
use super::content::{self, Meta, Range};
use super::respond::{self, Answer, Plan};
use super::sniff;
use super::stream::{PIECE_BYTES, Piece, Reader, Stream};
use super::{BlobError, Questions, date, relay};

/// Answers a request for an asset.
pub(super) async fn serve(
    questions: &Arc<dyn Questions>,
    reader: &Arc<Reader>,
    method: &Method,
    headers: &HeaderMap,
    asset: &Arc<Stored<Asset>>,
) -> Answer {
    let (opener, wanted) = (questions.clone(), asset.clone());
    let opened = reader.run(move || open(&*opener, &wanted)).await;
    let opened = opened.unwrap_or_else(|error| Err(BlobError::Unreadable(error.to_string())));
    match opened {
        Ok(opened) => send(opened, reader, method, headers, asset).await,
        Err(reason) => elsewhere(questions, method, headers, asset, &reason).await,
    }
}

/// What is not here may be on another node.
async fn elsewhere(
    questions: &Arc<dyn Questions>,
    method: &Method,
    headers: &HeaderMap,
    asset: &Stored<Asset>,
    reason: &BlobError,
) -> Answer {
    let etag = format!("\"{}\"", asset.value.digest);
    let passed_on = relay::serve(questions, method, headers, asset, meta(asset, &etag), media_of(&asset.value)).await;
    passed_on.unwrap_or_else(|_| refuse(asset, reason))
}

/// The same on every node: it comes from the replicated state, not from a file.
fn meta<'a>(asset: &Stored<Asset>, etag: &'a str) -> Meta<'a> {
    let modified = Some(date::seconds(asset.updated_at)).filter(|seconds| *seconds > 0);
    Meta { size: asset.value.size, etag, modified }
}

fn refuse(asset: &Stored<Asset>, reason: &BlobError) -> Answer {
    let (name, digest) = (&asset.value.name, asset.value.digest);
    match reason {
        BlobError::Busy => warn!(asset = name, %digest, %reason, "an asset cannot be served right now"),
        _ => {
            error!(asset = name, %digest, %reason, "an asset cannot be served; upload it again if no other node holds it")
        }
    }
    respond::unavailable()
}

/// A blob that is ready to be sent.
struct Opened {
    file: File,
    media: HeaderValue,
}

fn open(questions: &dyn Questions, asset: &Stored<Asset>) -> Result<Opened, BlobError> {
    let unreadable = |error: io::Error| BlobError::Unreadable(error.to_string());
    let file = questions.open(&asset.value.digest)?;
    if file.metadata().map_err(unreadable)?.len() != asset.value.size {
        return Err(BlobError::Damaged);
    }
    let media = match media_of(&asset.value) {
        Some(media) => media,
        None => {
            let mut head = [0; sniff::SNIFF_BYTES];
            let length = usize::try_from(asset.value.size).unwrap_or(head.len()).min(head.len());
            file.read_exact_at(&mut head[..length], 0).map_err(unreadable)?;
            HeaderValue::from_static(sniff::sniff(&head[..length]))
        }
    };
    Ok(Opened { file, media })
}

/// What the asset says, else what its name says.
fn media_of(asset: &Asset) -> Option<HeaderValue> {
    let said = Some(&asset.media_type).filter(|media| !media.is_empty());
    said.and_then(|media| HeaderValue::from_str(media).ok())
        .or_else(|| sniff::by_extension(&asset.name).map(HeaderValue::from_static))
}

async fn send(
    opened: Opened,
    reader: &Arc<Reader>,
    method: &Method,
    headers: &HeaderMap,
    asset: &Stored<Asset>,
) -> Answer {
    let digest = asset.value.digest.to_string();
    let etag = format!("\"{digest}\"");
    let meta = meta(asset, &etag);
    let (mut answer, ranges) = match respond::plan(content::decide(method, headers, meta), meta, &opened.media) {
        Plan::Done(answer) => return answer,
        Plan::Send { answer, ranges } => (answer, ranges),
    };
    let pieces = match ranges[..] {
        [one] => VecDeque::from([Piece::File(one)]),
        _ => {
            respond::set_multipart(&mut answer, &digest);
            multipart(&digest, &ranges, meta.size, &opened.media)
        }
    };
    let Opened { file, .. } = opened;
    if let [Piece::File(range)] = pieces.as_slices().0
        && range.length <= PIECE_BYTES as u64
        && *method != Method::HEAD
    {
        return match read_small(reader, file, *range).await {
            Ok(bytes) => {
                *answer.body_mut() = Body::from(bytes);
                answer
            }
            Err(error) => refuse(asset, &BlobError::Unreadable(error.to_string())),
        };
    }
    *answer.body_mut() = Body::Stream(Box::new(Stream::new(reader.clone(), file, asset.value.name.clone(), pieces)));
    answer
}

/// Small files are read before anything is said, so that a failure is still a clean 503.
async fn read_small(reader: &Reader, file: File, range: Range) -> io::Result<Bytes> {
    let read = move || {
        let mut bytes = vec![0; usize::try_from(range.length).unwrap_or(PIECE_BYTES)];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(Bytes::from(bytes))
    };
    reader.run(read).await?
}

fn multipart(boundary: &str, ranges: &[Range], size: u64, media: &HeaderValue) -> VecDeque<Piece> {
    let mut pieces = VecDeque::with_capacity(2 * ranges.len() + 1);
    for (at, range) in ranges.iter().enumerate() {
        pieces.push_back(Piece::Bytes(respond::part_head(boundary, *range, size, media, at == 0).into()));
        pieces.push_back(Piece::File(*range));
    }
    pieces.push_back(Piece::Bytes(respond::part_end(boundary).into()));
    pieces
}
