//! The state as a stream that belongs to no directory: what a backup carries, in the frames of a snapshot.

use std::io::{self, Read, Write};

use crate::codec::{self, SnapshotHeader, SnapshotTrailer};
use crate::snapshot::{Frames, SnapshotError, Summed};
use crate::state::{Record, State};

/// Writes the header, every record of `state` in the order of its key, and the trailer; one record is in memory at a time.
///
/// # Errors
/// When `out` does not take it.
pub fn write(state: &State, header: &SnapshotHeader, out: &mut dyn Write) -> Result<(), SnapshotError> {
    let mut out = Summed { inner: out, checksum: 0 };
    out.write_all(&codec::encode(header).map_err(|error| SnapshotError::Frame(0, error))?)?;
    let mut records = 0;
    for record in state.records() {
        records += 1;
        let frame = codec::encode_record(&record).map_err(|error| SnapshotError::Frame(records, error))?;
        out.write_all(&frame)?;
    }
    let trailer = SnapshotTrailer { records, checksum: out.checksum };
    out.write_all(&codec::encode(&trailer).map_err(|error| SnapshotError::Frame(records + 1, error))?)?;
    Ok(())
}

/// How many bytes `write` writes.
///
/// # Errors
/// When a record cannot be encoded.
pub fn length(state: &State, header: &SnapshotHeader) -> Result<u64, SnapshotError> {
    let mut counted = Counted(0);
    write(state, header, &mut counted)?;
    Ok(counted.0)
}

/// Reads such a stream to its end, verifying all of it; `each` is given one record after the other.
///
/// # Errors
/// When it is damaged, cut short or written by a newer version, or `each` fails.
pub fn read(
    from: impl Read,
    mut each: impl FnMut(Record) -> Result<(), SnapshotError>,
) -> Result<SnapshotHeader, SnapshotError> {
    let mut frames = Frames::new(from);
    let header = frames.header()?;
    frames.records(|at, frame| each(codec::decode_record(frame).map_err(|error| SnapshotError::Frame(at, error))?))?;
    Ok(header)
}

struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
