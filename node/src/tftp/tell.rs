//! Tells what happened to a request: counts it, and lets the rest of the program know.

use super::questions::{Client, Ending, Event, Refusal, What};
use super::server::Driver;
use super::transfer::Outcome;
use crate::metrics::counted;

impl Driver {
    /// One thing happened.
    pub(super) fn tell_of(&self, name: String, client: Client, what: What) {
        count(&what);
        self.questions.event(Event { name, client, what });
    }
}

fn count(what: &What) {
    match what {
        What::Started { .. } => {}
        What::TakenOver { .. } => counted::TFTP_TAKEN_OVER.one(),
        What::Ended { ending, bytes, blocks_resent, .. } => {
            counted::TFTP_TRANSFERS.one(ending_word(ending));
            counted::TFTP_SENT_BYTES.add(*bytes);
            counted::TFTP_BLOCKS_RESENT.add(*blocks_resent);
        }
        What::Refused(refusal) => counted::TFTP_REFUSED.one(refusal_word(*refusal)),
    }
}

fn ending_word(ending: &Ending) -> &'static str {
    match ending {
        Ending::Protocol(Outcome::Finished { .. }) => "complete",
        Ending::Protocol(Outcome::Probed) => "probed",
        Ending::Protocol(Outcome::Aborted { .. }) => "aborted",
        Ending::Protocol(Outcome::NeverAnswered) => "never_answered",
        Ending::Protocol(Outcome::Silent) => "silent",
        Ending::Protocol(Outcome::TooSlow) => "too_slow",
        Ending::Protocol(Outcome::TooManyResends) => "too_many_resends",
        Ending::Replaced => "replaced",
        Ending::SourceFailed => "source_failed",
        Ending::AddressGone => "address_gone",
        Ending::Stopped => "stopped",
    }
}

fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound => "not_found",
        Refusal::Busy => "busy",
        Refusal::BadName(_) => "bad_name",
        Refusal::TextMode => "text_mode",
    }
}
