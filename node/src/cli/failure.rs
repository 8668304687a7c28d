//! Why a command failed: said once, on standard error, with what to do.

use crate::client::{ClientError, Problem};

use super::output::Terminal;

/// The command was understood and not done.
const FAILED: u8 = 1;
/// The command was not understood.
const USAGE: u8 = 2;
/// A configuration that cannot be used.
const BAD_CONFIGURATION: u8 = 64;

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    problems: Vec<Problem>,
}

impl Failure {
    /// Something did not work.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        let problem = Problem { message: message.into(), hint: hint.into(), ..Problem::default() };
        Self { code: FAILED, problems: vec![problem] }
    }

    /// What had to be said is said; only the exit code is left.
    #[must_use]
    pub fn told_already() -> Self {
        Self { code: FAILED, problems: Vec::new() }
    }

    /// The command line asks for something that makes no sense.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: USAGE, ..Self::new(message, hint) }
    }

    /// The client's own configuration cannot be used.
    pub fn configuration(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: BAD_CONFIGURATION, ..Self::new(message, hint) }
    }

    /// What the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.code
    }

    /// What is wrong.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Says where in the user's files a problem is: `rename` turns the server's field into a place and a field.
    #[must_use]
    pub(super) fn renamed(mut self, rename: impl Fn(&str) -> Option<(String, String)>) -> Self {
        for problem in &mut self.problems {
            if let Some((place, field)) = rename(&problem.field) {
                problem.field = field;
                problem.object = place;
            }
        }
        self
    }

    /// Says in messages too where in the user's files something is, not where in the request it was: `items[3]`.
    #[must_use]
    pub(super) fn told(mut self, places: &[&str]) -> Self {
        for problem in &mut self.problems {
            let Some((before, rest)) = problem.message.split_once("items[") else { continue };
            let Some((number, after)) = rest.split_once(']') else { continue };
            if let Some(place) = number.parse::<usize>().ok().and_then(|number| places.get(number)) {
                problem.message = format!("{before}{place}{after}");
            }
        }
        self
    }

    pub(super) fn print(&self, terminal: &mut Terminal<'_>) {
        for Problem { message, field, hint, object, .. } in &self.problems {
            let place: Vec<&str> =
                [object, field].into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
            let colon = if place.is_empty() { "" } else { ": " };
            terminal.complain(&format!("raftboot: {}{colon}{message}", place.join(": ")));
            if !hint.is_empty() {
                terminal.complain(&format!("  hint: {hint}"));
            }
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Refused { problems, .. } => Self { code: FAILED, problems },
            ClientError::Unreachable { hint, .. } => Self::new(message, hint),
            ClientError::File { .. } => Self::new(message, ""),
            ClientError::Corrupt(_) => Self::new(message, "nothing was kept: try again, and look at the server's log"),
            ClientError::NoCertificate => {
                Self::configuration(message, "name the ca.crt of the server's data directory with --ca-file")
            }
            ClientError::Configuration { hint, .. } => Self::configuration(message, hint),
        }
    }
}
