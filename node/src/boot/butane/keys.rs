//! What makes two elements of a list the same, and that no list has the same twice.

use std::collections::HashSet;

use super::scalar::shown;
use super::value::Value;

/// The lists in which nothing is the same: they are orders of things to do.
pub(super) const JOINED: [&str; 3] = ["append", "options", "mount_options"];
/// The lists in which something may be only once altogether.
const SHARED: [&[&str]; 2] = [&["directories", "files", "links"], &["should_exist", "should_not_exist"]];

/// The lists that share their elements with this one, itself among them.
pub(super) fn sharing(list: &'static str) -> Vec<&'static str> {
    let shared = SHARED.iter().find(|shared| shared.contains(&list));
    shared.map_or_else(|| vec![list], |shared| shared.to_vec())
}

/// What an element is known by.
pub(super) fn key(list: &str, element: &Value) -> String {
    let name = match list {
        "disks" | "filesystems" => "device",
        "directories" | "files" | "links" => "path",
        "merge" | "certificate_authorities" => "source",
        "tang" => "url",
        "partitions" => {
            return match (element.int("number").unwrap_or(0), element.text("label")) {
                (0, label) => format!("label {}", label.unwrap_or_default()),
                (number, _) => format!("number {number}"),
            };
        }
        _ => "name",
    };
    element.as_text().or_else(|| element.text(name)).unwrap_or_default().to_owned()
}

/// Checks every list of a config.
///
/// # Errors
/// Which element is there twice.
pub(super) fn check_unique(config: &Value) -> Result<(), String> {
    unique(config, "")
}

fn unique(value: &Value, way: &str) -> Result<(), String> {
    let Value::Object(members) = value else { return Ok(()) };
    let mut seen = HashSet::new();
    for (name, member) in members {
        let way = if way.is_empty() { (*name).to_owned() } else { format!("{way}.{name}") };
        let Value::List(list) = member else {
            unique(member, &way)?;
            continue;
        };
        let first_of_sharing = sharing(name)[0];
        for (at, element) in list.iter().enumerate() {
            let key = key(name, element);
            if !JOINED.contains(name) && !seen.insert((first_of_sharing, key.clone())) {
                return Err(format!("{way}[{at}]: `{}` is there twice", shown(&key)));
            }
            unique(element, &format!("{way}[{at}]"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::value::text;
    use super::*;

    #[test]
    fn lists_of_things_have_each_once_and_lists_of_orders_do_not_care() {
        let texts = |texts: &[&str]| Value::List(texts.iter().map(|entry| text(*entry)).collect());
        let named = |list: &[(&'static str, &str)]| {
            Value::List(list.iter().map(|(name, value)| Value::Object(vec![(*name, text(*value))])).collect())
        };
        for (members, want) in [
            (
                vec![("ssh_authorized_keys", texts(&["a", "b", "a"]))],
                Some("x.ssh_authorized_keys[2]: `a` is there twice"),
            ),
            (vec![("options", texts(&["a", "a"])), ("mount_options", texts(&["a", "a"]))], None),
            (vec![("should_exist", texts(&["a"])), ("should_not_exist", texts(&["b", "a"]))], {
                Some("x.should_not_exist[1]: `a` is there twice")
            }),
            (vec![("files", named(&[("path", "/a")])), ("links", named(&[("path", "/a")]))], {
                Some("x.links[0]: `/a` is there twice")
            }),
            (vec![("disks", named(&[("device", "/a"), ("device", "/a")]))], Some("x.disks[1]: `/a` is there twice")),
            (vec![("partitions", named(&[("label", "a"), ("label", "b")]))], None),
            (
                vec![("partitions", named(&[("guid", "a"), ("guid", "b")]))],
                Some("x.partitions[1]: `label ` is there twice"),
            ),
            (vec![("merge", named(&[("source", "a"), ("source", "b")]))], None),
            (vec![("users", named(&[("name", "a"), ("name", "b")])), ("groups", named(&[("name", "a")]))], None),
        ] {
            let config = Value::Object(vec![("x", Value::Object(members))]);
            assert_eq!(check_unique(&config).err().as_deref(), want);
        }
    }
}
