//! Edits of groups, and what must hold of all groups together after a command.

use super::apply::{REFUSALS_MAX, Step};
use super::ways::ways_len;
use super::{Group, Record};
use crate::command::{Command, Effect, Refusal, RefusalCode};

/// In how many ways all groups with alternatives together may match, and those one command puts: each is an entry of the
/// index in every node's memory, some hundred bytes and its exact values; how many bytes those of one group have
/// together is limited too.
pub const RULED_WAYS_MAX: usize = 1_000_000;
/// How many comparisons (patterns, networks, other tests) a request may cost that asks for the same exact values: they
/// are made one by one.
pub const CROWD_MAX: usize = 4096;

impl Step<'_> {
    /// Stores a group.
    pub(super) fn put_group(&mut self, group: &Group) -> Result<Effect, Box<Refusal>> {
        if !group.rules.is_empty() {
            // Before the index grows, so that one command cannot fill the memory.
            self.ways_put = self.ways_put.saturating_add(ways_len(group));
            if self.ways_put > RULED_WAYS_MAX {
                return Err(Box::new(too_many_ways(group)));
            }
        }
        let (effect, next) = self.stored(self.state.groups.get(&group.id), group);
        Ok(self.write(effect, Record::Group(next)))
    }

    /// Refuses groups that would make requests slow, or the index large.
    pub(super) fn check_crowds(&mut self) {
        let all = self.state.selectors.ruled_len();
        for (at, group) in groups_of(self.command).filter(|(_, group)| !group.rules.is_empty()) {
            if self.refusals.len() >= REFUSALS_MAX {
                return;
            }
            let crowd = self.state.selectors.crowd_of(group);
            let refusal = if all > RULED_WAYS_MAX {
                too_many_ways(group)
            } else if crowd > CROWD_MAX {
                let message = format!(
                    "with it, a machine would be compared with {crowd} patterns one by one, at most {CROWD_MAX}: too \
                     many alternatives have no exact labels, or the same ones"
                );
                let hint =
                    "ask for an exact value too (`mac`, `uuid`, `arch`), or list exact values in place of patterns";
                Refusal::new(RefusalCode::Invalid, &format!("group/{}", group.id), "match", &message, hint)
            } else {
                continue;
            };
            self.refusals.push(refusal.at(at));
        }
    }

    /// Refuses groups that ask for the same: which of them wins would be chance.
    pub(super) fn check_ties(&mut self) {
        for (at, group) in groups_of(self.command) {
            if self.refusals.len() >= REFUSALS_MAX {
                return;
            }
            let tied = self.state.selectors.equals_of(group).filter(|(id, _)| *id != group.id);
            let tied: Vec<(&str, Option<u32>)> = tied.take(NAMED_MAX).collect();
            let Some((_, alternative)) = tied.first().copied() else { continue };
            let mut others: Vec<&str> = tied.into_iter().map(|(id, _)| id).collect();
            others.dedup();
            let names = others.join("`, `");
            let (field, message) = match alternative {
                None => ("selector".to_owned(), format!("another group has an equal selector{CHANCE}: `{names}`")),
                Some(number) => (
                    format!("match[{number}]"),
                    format!("another group asks for the same, or lists a value that this one lists{CHANCE}: `{names}`"),
                ),
            };
            let refusal = Refusal::new(
                RefusalCode::SelectorTie,
                &format!("group/{}", group.id),
                &field,
                &message,
                "add a label to one of them, remove one, or allow ties (then the lowest id wins)",
            );
            self.refusals.push(refusal.at(at));
        }
    }
}

/// The groups a command puts, with the positions of the edits.
fn groups_of(command: &Command) -> impl Iterator<Item = (u32, &Group)> {
    let edits = command.edits.iter().zip(0_u32..);
    edits.filter_map(|(guarded, at)| Some((at, guarded.edit.group()?)))
}

/// How many tied groups a refusal names.
const NAMED_MAX: usize = 3;
const CHANCE: &str = ", so which of them wins would be chance";

fn too_many_ways(group: &Group) -> Refusal {
    let message = format!("the groups with `match` would have more than {RULED_WAYS_MAX} combinations of exact values");
    let hint = "list fewer values, or remove groups that are not needed";
    Refusal::new(RefusalCode::Invalid, &format!("group/{}", group.id), "match", &message, hint)
}
