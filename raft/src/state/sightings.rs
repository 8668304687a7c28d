//! Turns sightings into machines: which cards are one machine, and which machine makes room for a new one.

use std::sync::Arc;

use super::apply::Step;
use super::{MACHINES_MAX, Machine, MachinePolicy, MachinePolicyChange, Record, RecordKey, Sighting, State};
use crate::command::Effect;
use crate::types::{Mac, Timestamp};

/// How many cards one machine gathers through its UUID; a UUID on more is shared by machines, and the next card gets a
/// record of its own.
const MACS_PER_MACHINE_MAX: usize = 4;
/// Bytes of one text of a sighting; a longer one is made up and ignored.
const FIELD_BYTES_MAX: usize = 256;

/// UUIDs that vendors leave on boards by the thousand, in both byte orders. Those of one repeated byte are not listed.
const SHARED_UUIDS: [&str; 9] = [
    "03000200-0400-0500-0006-000700080009",
    "00020003-0004-0005-0006-000700080009",
    "12345678-1234-5678-90ab-cddeefaabbcc",
    "78563412-3412-7856-90ab-cddeefaabbcc",
    "12345678-1234-1234-1234-123456789abc",
    "01020304-0506-0708-090a-0b0c0d0e0f10",
    "04030201-0605-0807-090a-0b0c0d0e0f10",
    // A service tag of blanks.
    "4c4c4544-0000-2010-8020-80c04f202020",
    "44454c4c-0000-1020-8020-80c04f202020",
];

/// Whether a UUID (lower case) tells one machine from the others.
pub(super) fn tells_apart(uuid: &str) -> bool {
    let mut digits = uuid.bytes().filter(|byte| *byte != b'-');
    let pair = (digits.next(), digits.next());
    let repeated = uuid.len() == 36
        && uuid.bytes().filter(|byte| *byte != b'-').enumerate().all(|(at, byte)| {
            let wanted = if at % 2 == 0 { pair.0 } else { pair.1 };
            wanted == Some(byte)
        });
    !uuid.is_empty() && uuid.len() <= FIELD_BYTES_MAX && !repeated && !SHARED_UUIDS.contains(&uuid)
}

impl Step<'_> {
    pub(super) fn sightings(&mut self, list: &[Sighting]) -> Effect {
        let mut effect = Effect::Unchanged;
        for sighting in list {
            let known = self.state.known(sighting);
            let first = known.as_ref().map_or(&sighting.mac, |known| &known.macs[0]).clone();
            self.met.insert(first);
            if known.is_none() && !self.make_room() {
                continue;
            }
            let mut next = known.as_deref().cloned().unwrap_or_else(|| unknown(sighting.mac.clone(), sighting.at));
            next.learn(sighting);
            if known.as_deref() != Some(&next) {
                self.write(Effect::Updated, Record::Machine(Arc::new(next)));
                effect = Effect::Updated;
            }
        }
        effect
    }

    pub(super) fn set_policy(&mut self, mac: &Mac, change: &MachinePolicyChange) -> Effect {
        let known = self.state.machine(mac).cloned();
        let mut next = known.as_deref().cloned().unwrap_or_else(|| unknown(mac.clone(), Timestamp(0)));
        next.policy = change.applied_to(&next.policy);
        let effect = match &known {
            None => Effect::Created,
            Some(old) if **old == next => Effect::Unchanged,
            Some(_) => Effect::Updated,
        };
        self.met.insert(next.macs[0].clone());
        if known.is_none() {
            // An operator's wish is never turned away: those are few.
            self.make_room();
        }
        self.write(effect, Record::Machine(Arc::new(next)))
    }

    /// At the limit forgets the machine that has been silent longest, but none that an operator has set up; says
    /// whether there is room now.
    fn make_room(&mut self) -> bool {
        if self.state.machines.len() < MACHINES_MAX {
            return true;
        }
        let oldest = self.state.machines_by_age.iter().find(|(_, first)| !self.met.contains(first));
        let Some((_, first)) = oldest.cloned() else { return false };
        let key = RecordKey::Machine(first);
        self.state.forget(&key);
        self.touched.insert(key);
        true
    }
}

impl State {
    /// The machine a sighting is of: by its card, else by its UUID while that machine may take one more card.
    fn known(&self, sighting: &Sighting) -> Option<Arc<Machine>> {
        let by_uuid = || {
            let found = self.machine_of_uuid(&sighting.uuid)?;
            (found.macs.len() < MACS_PER_MACHINE_MAX).then_some(found)
        };
        self.machine(&sighting.mac).or_else(by_uuid).cloned()
    }

    pub(super) fn insert_machine(&mut self, machine: Arc<Machine>) {
        let Some(first) = machine.macs.first().cloned() else { return };
        self.remove_machine(&first);
        for mac in &machine.macs {
            self.machine_of_mac.insert(mac.clone(), first.clone());
        }
        if tells_apart(&machine.uuid) {
            self.machine_of_uuid.insert((machine.uuid.clone(), first.clone()));
        }
        if machine.policy == MachinePolicy::default() {
            self.machines_by_age.insert((machine.last_seen, first.clone()));
        }
        self.machines.insert(first, machine);
    }

    pub(super) fn remove_machine(&mut self, first: &Mac) -> bool {
        let Some(old) = self.machines.remove(first) else { return false };
        for mac in &old.macs {
            self.machine_of_mac.remove(mac);
        }
        self.machine_of_uuid.remove(&(old.uuid.clone(), first.clone()));
        self.machines_by_age.remove(&(old.last_seen, first.clone()));
        true
    }
}

fn unknown(mac: Mac, first_seen: Timestamp) -> Machine {
    Machine {
        macs: vec![mac],
        uuid: String::new(),
        serial: String::new(),
        arch: String::new(),
        address: String::new(),
        first_seen,
        last_seen: Timestamp(0),
        policy: MachinePolicy::default(),
    }
}

impl Machine {
    /// Takes over what a sighting says.
    fn learn(&mut self, sighting: &Sighting) {
        if !self.macs.contains(&sighting.mac) {
            self.macs.push(sighting.mac.clone());
        }
        for (field, value) in [
            (&mut self.uuid, &sighting.uuid),
            (&mut self.serial, &sighting.serial),
            (&mut self.arch, &sighting.arch),
            (&mut self.address, &sighting.address),
        ] {
            if !value.is_empty() && value.len() <= FIELD_BYTES_MAX {
                field.clone_from(value);
            }
        }
        if self.first_seen == Timestamp(0) {
            self.first_seen = sighting.at;
        }
        // The log orders sightings, not the clocks: one that was ahead once must not stop time for ever.
        self.last_seen = sighting.at;
    }
}
