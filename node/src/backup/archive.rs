//! The headers of a tar file, one way only: what is read must be, byte for byte, what would have been written.
//!
//! Format: POSIX ustar (IEEE Std 1003.1, `pax`); a size that needs more than eleven octal digits is binary, as GNU tar and
//! libarchive write and read it.

/// Bytes of a header, and what the bytes of a member are filled up to.
pub(super) const BLOCK_BYTES: usize = 512;
/// Empty blocks at the end of a tar file.
pub(super) const END_BYTES: usize = 2 * BLOCK_BYTES;
/// The largest size eleven octal digits can say.
const OCTAL_SIZE_MAX: u64 = 0o777_7777_7777;

/// A member: its name, how long it is, when the backup was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// At most 99 bytes of ASCII.
    pub(super) name: String,
    /// Bytes that follow.
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) time: u64,
}

impl Head {
    /// The header as it is written.
    pub(super) fn render(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        put(&mut block, 0, &self.name.as_bytes()[..self.name.len().min(99)]);
        // The CA's key is in it, and what templates hold.
        put(&mut block, 100, b"0000600\0");
        put(&mut block, 108, b"0000000\0");
        put(&mut block, 116, b"0000000\0");
        if self.size <= OCTAL_SIZE_MAX {
            put(&mut block, 124, format!("{:011o}\0", self.size).as_bytes());
        } else {
            block[124] = 0x80;
            put(&mut block, 128, &self.size.to_be_bytes());
        }
        put(&mut block, 136, format!("{:011o}\0", self.time.min(OCTAL_SIZE_MAX)).as_bytes());
        block[156] = b'0';
        put(&mut block, 257, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
        block
    }

    /// Reads a header; nothing if it is not exactly what `render` writes.
    pub(super) fn parse(block: &[u8; BLOCK_BYTES]) -> Option<Self> {
        let end = block[..100].iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(&block[..end]).ok()?.to_owned();
        let size = if block[124] == 0x80 {
            u64::from_be_bytes(block[128..136].try_into().ok()?)
        } else {
            octal(&block[124..135])?
        };
        let head = Self { name, size, time: octal(&block[136..147])? };
        (head.render() == *block).then_some(head)
    }

    /// Zeros behind the bytes of the member.
    pub(super) fn padding(&self) -> usize {
        let over = usize::try_from(self.size % BLOCK_BYTES as u64).unwrap_or(0);
        (BLOCK_BYTES - over) % BLOCK_BYTES
    }
}

fn put(block: &mut [u8; BLOCK_BYTES], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

fn octal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(size: u64) -> Head {
        Head { name: format!("files/{}", "a".repeat(64)), size, time: 1_795_254_847 }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_no_other_way() {
        for size in [0, 1, 511, 512, OCTAL_SIZE_MAX, OCTAL_SIZE_MAX + 1, 1 << 40] {
            let block = head(size).render();
            assert_eq!(Head::parse(&block), Some(head(size)));
            for at in 0..BLOCK_BYTES {
                for bit in 0..8 {
                    let mut other = block;
                    other[at] ^= 1 << bit;
                    assert_eq!(Head::parse(&other), None, "size {size}: bit {bit} of byte {at}");
                }
            }
        }
    }

    #[test]
    fn members_are_filled_up_to_whole_blocks() {
        for (size, padding) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(head(size).padding(), padding);
        }
    }

    #[test]
    fn tar_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar");
        let mut bytes = head(3).render().to_vec();
        bytes.extend_from_slice(b"abc");
        bytes.extend_from_slice(&vec![0; head(3).padding() + END_BYTES]);
        std::fs::write(&file, bytes).unwrap();
        let listed = std::process::Command::new("tar").arg("-tvf").arg(&file).env("TZ", "UTC").output().unwrap();
        let text = String::from_utf8(listed.stdout).unwrap();
        assert!(text.starts_with("-rw------- 0/0") && text.contains("2026-11-21 09:54 files/aaaa"), "{text}");
    }
}
