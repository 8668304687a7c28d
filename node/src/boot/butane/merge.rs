//! Merges a config into one that was generated from it, as Ignition merges a child into its parent: what the config
//! says itself wins, and a list element that both have by name is merged.

use std::collections::{HashMap, HashSet};

use super::keys::{JOINED, key, sharing};
use super::schema::{Field, Kind, STORAGE, SYSTEMD};
use super::value::Value;

/// Merges `child` into what was generated from it, of storage and of units.
pub(super) fn merge(generated: &Value, child: Value, generation: u8) -> Value {
    let Value::Object(mut members) = child else { return child };
    // In the order in which Ignition writes them.
    for (name, schema) in [("storage", STORAGE), ("systemd", SYSTEMD)] {
        let Some(parent) = generated.get(name) else { continue };
        match members.iter_mut().find(|(key, _)| *key == name) {
            Some((_, child)) => *child = object(schema, parent, child, generation),
            None => {
                let at = members.iter().position(|(key, _)| *key > name).unwrap_or(members.len());
                members.insert(at, (name, parent.clone()));
            }
        }
    }
    Value::Object(members)
}

fn object(schema: &'static [Field], parent: &Value, child: &Value, generation: u8) -> Value {
    let merged = schema.iter().filter_map(|field| {
        let (ours, theirs) = (child.get(field.name), parent.get(field.name));
        let value = match (field.kind, theirs, ours) {
            // These are never absent, only empty.
            (Kind::Text | Kind::Int, _, ours) => ours.cloned(),
            (Kind::TextBefore(optional_since), _, ours) if generation < optional_since => ours.cloned(),
            (Kind::Object(schema), Some(theirs), Some(ours)) => Some(object(schema, theirs, ours, generation)),
            (Kind::Objects(schema), Some(Value::List(theirs)), _) => {
                let merge = |theirs: &Value, ours: &Value| object(schema, theirs, ours, generation);
                Some(list(field.name, theirs, child, merge))
            }
            (Kind::Texts, Some(Value::List(theirs)), _) => {
                Some(list(field.name, theirs, child, |_, ours| ours.clone()))
            }
            (_, theirs, ours) => ours.or(theirs).cloned(),
        };
        Some((field.name, value?))
    });
    Value::Object(merged.collect())
}

fn list(name: &'static str, theirs: &[Value], child: &Value, merge: impl Fn(&Value, &Value) -> Value) -> Value {
    let ours = child.list(name);
    if JOINED.contains(&name) {
        return Value::List(theirs.iter().chain(ours).cloned().collect());
    }
    // Of several with the same key the last counts, in whichever of the lists that share theirs.
    let mut known: HashMap<String, (&str, &Value)> = HashMap::new();
    for list in sharing(name) {
        known.extend(child.list(list).iter().map(|value| (key(list, value), (list, value))));
    }
    let mut merged = Vec::new();
    for value in theirs {
        match known.get(&key(name, value)) {
            Some((list, ours)) if *list == name => merged.push(merge(value, ours)),
            // It is in another list, which takes it.
            Some(_) => {}
            None => merged.push(value.clone()),
        }
    }
    let generated: HashSet<String> = theirs.iter().map(|value| key(name, value)).collect();
    merged.extend(ours.iter().filter(|value| !generated.contains(&key(name, value))).cloned());
    Value::List(merged)
}
