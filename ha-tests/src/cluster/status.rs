//! What a node says about itself and its cluster (`raftboot status -o json`), read leniently: ids may be numbers or text.

use serde_json::Value;

/// One node's answer.
#[derive(Clone, Debug)]
pub struct Status(pub Value);

/// One row of the members' table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// Never used twice.
    pub id: String,
    /// As in the node's configuration.
    pub name: String,
    /// `voter`, `learner` or `removed`.
    pub role: String,
    /// Blobs it should have and does not.
    pub replicas_missing: u64,
}

impl Status {
    /// The node's own id.
    #[must_use]
    pub fn node_id(&self) -> String {
        text(&self.0["cluster"]["node_id"])
    }

    /// The leader's id, if the node knows one.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        some(&self.0["cluster"]["leader"])
    }

    /// The term the node is in.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.0["cluster"]["term"].as_u64().unwrap_or(0)
    }

    /// How far the node has applied the log.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.0["cluster"]["applied"].as_u64().unwrap_or(0)
    }

    /// Whether the node says that it is ready.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.0["ready"] == true
    }

    /// Everybody who is or was in the cluster.
    #[must_use]
    pub fn members(&self) -> Vec<MemberRow> {
        let row = |member: &Value| MemberRow {
            id: text(&member["id"]),
            name: text(&member["name"]),
            role: text(&member["role"]),
            replicas_missing: member["replicas_missing"].as_u64().unwrap_or(0),
        };
        self.0["members"].as_array().into_iter().flatten().map(row).collect()
    }

    /// The names of all voters, in order.
    #[must_use]
    pub fn voters(&self) -> Vec<String> {
        let mut voters: Vec<String> =
            self.members().into_iter().filter(|member| member.role == "voter").map(|member| member.name).collect();
        voters.sort();
        voters
    }

    /// Who holds the floating address, as far as this node knows: an id or a name.
    #[must_use]
    pub fn holder(&self) -> Option<String> {
        some(&self.0["vip"]["holder"])
    }

    /// The name that belongs to an id, or to a name itself.
    #[must_use]
    pub fn name_of(&self, id: &str) -> Option<String> {
        self.members().into_iter().find(|member| member.id == id || member.name == id).map(|member| member.name)
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn some(value: &Value) -> Option<String> {
    if value.is_null() { None } else { Some(text(value)).filter(|text| !text.is_empty()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_may_be_numbers_or_text() {
        for id in [json!(7), json!("7")] {
            let status = Status(json!({
                "ready": true,
                "cluster": {"node_id": id, "leader": id, "term": 3, "applied": 9},
                "members": [
                    {"id": 5, "name": "old", "role": "removed", "replicas_missing": 0},
                    {"id": id, "name": "node-a", "role": "voter", "replicas_missing": 2},
                ],
                "vip": {"holder": id},
            }));
            assert_eq!((status.node_id(), status.leader()), ("7".into(), Some("7".into())));
            assert_eq!(status.name_of(&status.holder().unwrap()), Some("node-a".into()));
            assert_eq!(status.voters(), ["node-a"]);
            assert_eq!(status.members()[1].replicas_missing, 2);
            assert!(status.ready() && status.term() == 3 && status.applied() == 9);
        }
        let nobody = Status(json!({"cluster": {"leader": null}, "vip": {"holder": ""}}));
        assert_eq!((nobody.leader(), nobody.holder()), (None, None));
    }
}
