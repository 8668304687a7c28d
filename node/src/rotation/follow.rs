//! Makes the files of a node what the record of a change says, in an order that a crash may cut anywhere.

use raft::state::{CaRecord, CaStage};
use raft::types::Digest;

use crate::certs::{CaFiles, CertError, Which};

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Followed {
    /// All is as it should be.
    Done {
        /// Whether files are others than before.
        changed: bool,
    },
    /// A CA is needed first that is not here.
    Missing(Which, Digest),
}

/// Follows one step. Both CAs are kept before either is trusted, and trusted before it issues.
pub(super) fn follow(files: &CaFiles, record: &CaRecord) -> Result<Followed, CertError> {
    let issuing = files.authority()?.digest()?;
    let Some(new) = files.find(&record.new)? else { return Ok(Followed::Missing(Which::New, record.new)) };
    if record.stage == CaStage::Done {
        let mut changed = false;
        if issuing != record.new {
            // It was away for a step or more.
            let old = files.issuing()?;
            files.trust(&[&old, &new])?;
            files.issue_by(&new)?;
            changed = true;
        }
        changed |= files.trust(&[&new])?;
        files.forget()?;
        return Ok(Followed::Done { changed });
    }
    let Some(old) = files.find(&record.old)? else { return Ok(Followed::Missing(Which::Old, record.old)) };
    files.keep(Which::Old, &old)?;
    files.keep(Which::New, &new)?;
    let (first, second) = if record.stage == CaStage::Issue { (&new, &old) } else { (&old, &new) };
    let mut changed = files.trust(&[first, second])?;
    if Ok(issuing) != first.digest() {
        files.issue_by(first)?;
        changed = true;
    }
    Ok(Followed::Done { changed })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::SystemTime;

    use raft::types::Timestamp;

    use super::*;
    use crate::certs::CaPair;

    fn record(stage: CaStage, old: Digest, new: Digest) -> CaRecord {
        CaRecord { stage, old, new, since: Timestamp(1), trusting: BTreeSet::new(), issuing: BTreeSet::new() }
    }

    fn files() -> (tempfile::TempDir, CaFiles, Digest) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let files = CaFiles::new(dir.path());
        let digest = files.authority().and_then(|authority| authority.digest()).expect("a new CA");
        (dir, files, digest)
    }

    fn state(files: &CaFiles) -> (Digest, Vec<Digest>) {
        let issuing = files.authority().and_then(|authority| authority.digest()).expect("a CA");
        (issuing, files.trusted().expect("a CA"))
    }

    #[test]
    fn a_node_follows_each_step_and_each_step_back() {
        let (dir, files, old) = files();
        let pair = CaPair::generate(SystemTime::now()).unwrap();
        let new = pair.digest().unwrap();
        let step = |stage| follow(&files, &record(stage, old, new)).unwrap();
        assert_eq!(step(CaStage::Trust), Followed::Missing(Which::New, new));
        assert_eq!(state(&files), (old, vec![old]), "nothing is done without it");
        files.keep(Which::New, &pair).unwrap();
        assert_eq!(step(CaStage::Trust), Followed::Done { changed: true });
        assert_eq!(step(CaStage::Trust), Followed::Done { changed: false });
        assert_eq!(state(&files), (old, vec![old, new]));
        assert_eq!(step(CaStage::Issue), Followed::Done { changed: true });
        assert_eq!(state(&files), (new, vec![new, old]));
        assert_eq!(step(CaStage::Trust), Followed::Done { changed: true });
        assert_eq!(state(&files), (old, vec![old, new]), "back");
        step(CaStage::Issue);
        assert_eq!(step(CaStage::Done), Followed::Done { changed: true });
        assert_eq!(state(&files), (new, vec![new]));
        let left: Vec<_> =
            crate::certs::CHANGING_FILES.into_iter().filter(|name| dir.path().join(name).exists()).collect();
        assert_eq!(left, Vec::<&str>::new(), "no key stays behind");
    }

    #[test]
    fn a_change_that_is_given_up_leaves_the_old_ca() {
        let (_dir, files, old) = files();
        let pair = CaPair::generate(SystemTime::now()).unwrap();
        let new = pair.digest().unwrap();
        files.keep(Which::New, &pair).unwrap();
        follow(&files, &record(CaStage::Trust, old, new)).unwrap();
        follow(&files, &record(CaStage::Done, new, old)).unwrap();
        assert_eq!(state(&files), (old, vec![old]));
        assert_eq!(files.find(&new).unwrap(), None);
    }

    #[test]
    fn a_node_that_was_away_catches_up_if_it_has_the_new_ca_and_else_says_so() {
        let (_dir, files, old) = files();
        let pair = CaPair::generate(SystemTime::now()).unwrap();
        let new = pair.digest().unwrap();
        assert_eq!(follow(&files, &record(CaStage::Done, old, new)).unwrap(), Followed::Missing(Which::New, new));
        files.keep(Which::New, &pair).unwrap();
        assert_eq!(follow(&files, &record(CaStage::Done, old, new)).unwrap(), Followed::Done { changed: true });
        assert_eq!(state(&files), (new, vec![new]));
    }

    #[test]
    fn a_crash_between_two_writes_is_finished_by_the_next_look() {
        let (dir, files, old) = files();
        let pair = CaPair::generate(SystemTime::now()).unwrap();
        let new = pair.digest().unwrap();
        files.keep(Which::New, &pair).unwrap();
        follow(&files, &record(CaStage::Trust, old, new)).unwrap();
        // The key is there, the order in ca.crt is not.
        files.issue_by(&pair).unwrap();
        assert_eq!(state(&files), (new, vec![old, new]));
        follow(&files, &record(CaStage::Issue, old, new)).unwrap();
        assert_eq!(state(&files), (new, vec![new, old]));
        assert!(dir.path().join("ca-old.key").exists());
    }
}
