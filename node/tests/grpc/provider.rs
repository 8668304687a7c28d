//! What matchbox's Terraform provider calls, in its order, for the two resources it has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::Client;
use super::wire::{from_base64, to_base64};

/// `matchbox_profile`: its arguments.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ProfileResource {
    pub(crate) name: String,
    pub(crate) kernel: String,
    pub(crate) initrd: Vec<String>,
    pub(crate) args: Vec<String>,
    /// `container_linux_config`, translated from Butane.
    pub(crate) butane: Option<String>,
    pub(crate) raw_ignition: Option<String>,
    pub(crate) generic: Option<String>,
}

/// `matchbox_group`: its arguments.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct GroupResource {
    pub(crate) name: String,
    pub(crate) profile: String,
    pub(crate) selector: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl ProfileResource {
    fn ignition(&self) -> Option<(String, &str)> {
        let butane = self.butane.as_deref().map(|text| (format!("{}.yaml.tmpl", self.name), text));
        butane.or_else(|| self.raw_ignition.as_deref().map(|text| (format!("{}.ign", self.name), text)))
    }

    /// The profile, then its files; it stops at the first error.
    pub(crate) fn create(&self, client: &mut Client) {
        let mut profile = json!({
            "id": self.name,
            // Always there, even if nothing is in it.
            "boot": {"kernel": self.kernel, "initrd": self.initrd, "args": self.args},
        });
        if let Some((name, _)) = self.ignition() {
            profile["ignition_id"] = json!(name);
        }
        if self.generic.is_some() {
            profile["generic_id"] = json!(self.name);
        }
        client.call("rpcpb.Profiles/ProfilePut", &json!({ "profile": profile })).ok();
        if let Some((name, text)) = self.ignition() {
            let config = json!({"name": name, "config": to_base64(text.as_bytes())});
            client.call("rpcpb.Ignition/IgnitionPut", &config).ok();
        }
        if let Some(text) = &self.generic {
            let config = json!({"name": self.name, "config": to_base64(text.as_bytes())});
            client.call("rpcpb.Generic/GenericPut", &config).ok();
        }
    }

    /// What is there now; any error means that the resource is gone.
    pub(crate) fn read(&self, client: &mut Client) -> Option<Self> {
        let profile = answered(client, "rpcpb.Profiles/ProfileGet", json!({"id": self.name}))?;
        let profile = &profile["profile"];
        // The provider looks into it without asking whether it is there.
        let boot = profile["boot"].as_object().expect("boot is always there");
        let texts = |name: &str| -> Vec<String> {
            let list = boot.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
            list.iter().map(|one| one.as_str().expect("a text").to_owned()).collect()
        };
        let mut found = Self {
            name: profile["id"].as_str()?.to_owned(),
            kernel: boot.get("kernel").and_then(Value::as_str).unwrap_or_default().to_owned(),
            initrd: texts("initrd"),
            args: texts("args"),
            ..Self::default()
        };
        if let Some(name) = profile["ignition_id"].as_str() {
            let text = file(client, "rpcpb.Ignition/IgnitionGet", name)?;
            let raw = name.ends_with(".ign") || name.ends_with(".ignition");
            *if raw { &mut found.raw_ignition } else { &mut found.butane } = Some(text);
        }
        if let Some(name) = profile["generic_id"].as_str() {
            found.generic = Some(file(client, "rpcpb.Generic/GenericGet", name)?);
        }
        Some(found)
    }

    /// The profile, then its files; an error fails the destruction.
    pub(crate) fn destroy(&self, client: &mut Client) {
        client.call("rpcpb.Profiles/ProfileDelete", &json!({"id": self.name})).ok();
        if let Some((name, _)) = self.ignition() {
            client.call("rpcpb.Ignition/IgnitionDelete", &json!({ "name": name })).ok();
        }
        if self.generic.is_some() {
            client.call("rpcpb.Generic/GenericDelete", &json!({"name": self.name})).ok();
        }
    }
}

impl GroupResource {
    pub(crate) fn create(&self, client: &mut Client) {
        let metadata = serde_json::to_vec(&self.metadata).expect("a map of texts");
        let group = json!({
            "id": self.name,
            "profile": self.profile,
            "selector": self.selector,
            "metadata": to_base64(&metadata),
        });
        client.call("rpcpb.Groups/GroupPut", &json!({ "group": group })).ok();
    }

    pub(crate) fn read(&self, client: &mut Client) -> Option<Self> {
        let group = answered(client, "rpcpb.Groups/GroupGet", json!({"id": self.name}))?;
        let group = &group["group"];
        let map = |value: &Value| serde_json::from_value(value.clone()).unwrap_or_default();
        let metadata = group["metadata"].as_str().map(from_base64).unwrap_or_default();
        Some(Self {
            name: group["id"].as_str()?.to_owned(),
            profile: group["profile"].as_str()?.to_owned(),
            selector: map(&group["selector"]),
            metadata: if metadata.is_empty() {
                BTreeMap::new()
            } else {
                serde_json::from_slice(&metadata).expect("the provider takes texts only")
            },
        })
    }

    pub(crate) fn destroy(&self, client: &mut Client) {
        client.call("rpcpb.Groups/GroupDelete", &json!({"id": self.name})).ok();
    }
}

fn answered(client: &mut Client, method: &str, request: Value) -> Option<Value> {
    let answer = client.call(method, &request);
    (answer.code == 0).then(|| answer.ok())
}

fn file(client: &mut Client, method: &str, name: &str) -> Option<String> {
    let answer = answered(client, method, json!({ "name": name }))?;
    let bytes = answer["config"].as_str().map(from_base64).unwrap_or_default();
    Some(String::from_utf8(bytes).expect("the provider's configs are texts"))
}

/// Resources with everything that has ever been trouble: MACs in every form, files of every kind, empty metadata.
pub(crate) fn example() -> Vec<(ProfileResource, GroupResource)> {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let map = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let profile = |name: &str| ProfileResource {
        name: name.into(),
        kernel: "/assets/talos/vmlinuz".into(),
        initrd: texts(&["/assets/talos/initramfs.xz"]),
        args: texts(&["initrd=initramfs.xz", "talos.platform=metal", "x=${uuid}&<y>"]),
        ..ProfileResource::default()
    };
    let group = |name: &str, mac: &str| GroupResource {
        name: format!("{name}-group"),
        profile: name.into(),
        selector: map(&[("mac", mac)]),
        metadata: map(&[("hostname", name), ("note", "a<b> & \"c\" \u{e9}")]),
    };
    vec![
        (
            ProfileResource { generic: Some("version: v1alpha1\n# {{.hostname}}\n".into()), ..profile("talos") },
            group("talos", "52:54:00:AA:BB:01"),
        ),
        (
            ProfileResource {
                raw_ignition: Some("{\n  \"ignition\": {\"version\": \"3.3.0\"}\n}\n".into()),
                ..profile("fedora")
            },
            group("fedora", "52-54-00-aa-bb-02"),
        ),
        (
            ProfileResource {
                butane: Some("variant: flatcar\nversion: 1.0.0\n# {{.hostname}}\n".into()),
                ..profile("flatcar")
            },
            group("flatcar", "52:54:00:aa:bb:03"),
        ),
        (
            ProfileResource { name: "nothing".into(), ..ProfileResource::default() },
            GroupResource { name: "default".into(), profile: "nothing".into(), ..GroupResource::default() },
        ),
    ]
}
