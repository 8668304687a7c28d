//! Sees to it that somebody can administer a new cluster: the first token, in a file that only its owner may read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raft::command::{Command, Edit, Outcome};
use raft::state::{Role, Token};
use raft::types::Digest;
use raft::{Cluster, ProposeError};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::clock;
use super::secret::Secret;
use super::tokens::{NODE, admins};
use crate::certs::write_whole;

/// The file in the data directory.
pub const TOKEN_FILE: &str = "admin.token";
/// The name of the first token, the actor in the log.
const NAME: &str = "admin";
/// How long to wait for a leader.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How often to try meanwhile.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// Why there is no first token.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The file is there and cannot be used.
    #[error("{}: {what}; make it readable, or remove it: it is made again if the cluster has no admin token", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system has no randomness to give.
    #[error("no randomness for the first token: {0}")]
    Random(getrandom::Error),
    /// The token could not be committed.
    #[error("the first token could not be stored: {0}")]
    Propose(ProposeError),
    /// The state did not take it.
    #[error("the first token was refused: {0}")]
    Refused(String),
}

/// If the cluster has no token that may administer it, makes one. A cluster that holds nothing yet takes that of the
/// file if there is one (so it can be placed there beforehand); any other gets a new one, written to the file first.
/// Otherwise changes nothing.
///
/// # Errors
/// If the file is there and cannot be used, or nothing can be committed for 30 s.
pub async fn first_token(cluster: &Cluster, data_dir: &Path) -> Result<(), BootstrapError> {
    let file = data_dir.join(TOKEN_FILE);
    let held = read(&file)?;
    let state = cluster.read();
    if admins(&state, clock::now()).next().is_some() {
        match &held {
            Some(token) if !state.token(token.id()).is_some_and(|stored| token.proves(&stored.value.secret_sha256)) => {
                warn!(file = %file.display(), "the token in this file is not one of this cluster; remove the file or replace the token");
            }
            None => info!(file = %file.display(), "no admin token is kept here; the cluster has others"),
            Some(_) => {}
        }
        return Ok(());
    }
    // What was put there before the very first start is taken as it is. Later, a token in the file that the cluster
    // does not know has been revoked, and must not come back.
    let is_new = state.records().next().is_none();
    let token = match held.filter(|_| is_new) {
        Some(token) => token,
        None => {
            let token = Secret::generate().map_err(BootstrapError::Random)?;
            let text = format!("{}\n", token.reveal());
            // The file first: a token nobody knows would lock everybody out.
            write_whole(&file, text.as_bytes(), 0o600)
                .map_err(|error| unusable(&file, format!("it cannot be written: {error}")))?;
            token
        }
    };
    commit(cluster, &token).await?;
    if is_new {
        info!(file = %file.display(), "made the first admin token");
    } else {
        warn!(file = %file.display(), "nobody could administer this cluster any more: made a new admin token");
    }
    Ok(())
}

fn unusable(file: &Path, what: String) -> BootstrapError {
    BootstrapError::File { file: file.to_owned(), what }
}

fn read(file: &Path) -> Result<Option<Secret>, BootstrapError> {
    match fs::read_to_string(file) {
        Ok(text) => text.trim().parse().map(Some).map_err(|error| unusable(file, format!("its content is {error}"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(file, format!("it cannot be read: {error}"))),
    }
}

async fn commit(cluster: &Cluster, token: &Secret) -> Result<(), BootstrapError> {
    let stored = Token {
        id: token.id().to_owned(),
        name: NAME.into(),
        secret_sha256: token.sha256(),
        role: Role::Admin,
        expires: None,
    };
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        let command = Command {
            actor: NODE.into(),
            at: clock::now(),
            idempotency_key: String::new(),
            fingerprint: Digest([0; 32]),
            edits: vec![Edit::PutToken(stored.clone()).into()],
            replace: Vec::new(),
            allow_ties: false,
        };
        // Putting the same token twice changes nothing, so an unknown outcome may be tried again too.
        match cluster.propose(command).await.map(|committed| committed.outcome) {
            Ok(Outcome::Applied { .. }) => return Ok(()),
            Ok(Outcome::Refused(refusals)) => {
                let reasons: Vec<String> = refusals.into_iter().map(|refusal| refusal.message).collect();
                return Err(BootstrapError::Refused(reasons.join("; ")));
            }
            Err(ProposeError::Unavailable | ProposeError::Unknown(_)) if Instant::now() < deadline => {
                sleep(RETRY_EVERY).await
            }
            Err(error) => return Err(BootstrapError::Propose(error)),
        }
    }
}
