//! What one rendering may cost, so that no template can hold a node.

use super::funcs::Fault;

/// Steps one rendering may take: each node, word, element and 64 bytes of text is one.
pub const STEPS_MAX: usize = 1_000_000;
/// The longest text a rendering may put out or a function may build, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// Bytes of text that cost as much as one step.
const BYTES_PER_STEP: usize = 64;

/// Counts the steps of one rendering.
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    /// A fresh budget.
    pub(super) fn new() -> Self {
        Self { left: STEPS_MAX }
    }

    /// Takes some steps, or says that there are none left.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Fault> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(format!("rendering takes more than {STEPS_MAX} steps; shorten its loops")),
        }
    }

    /// Takes the steps that handling some bytes costs.
    pub(super) fn spend_bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        self.spend(bytes / BYTES_PER_STEP)
    }
}

/// Says that a text grew too long.
pub(super) fn too_long() -> Fault {
    format!("the text grows beyond {OUTPUT_BYTES_MAX} bytes; make it shorter")
}
