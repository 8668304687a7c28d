//! Writes a compressed tar file of some texts (POSIX ustar): each member is a header of 512 bytes and its bytes.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

const BLOCK_BYTES: usize = 512;
/// What the format has room for without extensions.
const NAME_BYTES_MAX: usize = 100;

/// Texts with their names, as one file. `at` is their time, in seconds since 1970.
///
/// # Errors
/// If a name is too long.
pub(super) fn tar_gz<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>, at: u64) -> io::Result<Vec<u8>> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    for (name, bytes) in files {
        out.write_all(&header(name, bytes.len(), at)?)?;
        out.write_all(bytes)?;
        out.write_all(&vec![0; bytes.len().next_multiple_of(BLOCK_BYTES) - bytes.len()])?;
    }
    out.write_all(&[0; 2 * BLOCK_BYTES])?;
    out.finish()
}

fn header(name: &str, size: usize, at: u64) -> io::Result<[u8; BLOCK_BYTES]> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(io::Error::other(format!("`{name}` is no name for a member of a tar file")));
    }
    let mut block = [0; BLOCK_BYTES];
    let mut put = |from: usize, text: &str| block[from..from + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000600\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, &format!("{at:011o}\0"));
    // The sum is computed as if it were spaces itself.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn tar_unpacks_what_was_packed() {
        let long = "x".repeat(1500);
        let files = [("top/a.txt", "hello\n"), ("top/node/empty", ""), ("top/node/long", long.as_str())];
        let bytes = tar_gz(files.map(|(name, text)| (name, text.as_bytes())), 1_795_254_847).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let packed = folder.path().join("p.tar.gz");
        std::fs::write(&packed, bytes).unwrap();
        let out = Command::new("tar").arg("-xzf").arg(&packed).arg("-C").arg(folder.path()).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        for (name, text) in files {
            assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), text);
        }
        assert!(tar_gz([("n".repeat(101).as_str(), &b""[..])], 0).is_err());
    }
}
