//! Config files by name, byte for byte: Ignition or Butane, and generic ones.

use bytes::Bytes;
use prost::Message as _;
use raft::command::Edit;
use raft::state::{State, Template, TemplateKind};
use tonic::Status;

use super::proto::{Config, Empty, Named, NamedConfig};
use super::write::Caller;
use super::{Context, MESSAGE_BYTES_MAX, is_exact, status};

impl Context {
    pub(super) async fn put_config(
        &self,
        caller: &Caller,
        kind: TemplateKind,
        ask: NamedConfig,
    ) -> Result<Empty, Status> {
        let NamedConfig { name, config } = ask;
        let shown = Config { config: config.clone() }.encoded_len();
        if shown > MESSAGE_BYTES_MAX {
            return Err(status::too_large(kind, &name, shown, MESSAGE_BYTES_MAX));
        }
        // matchbox stores anything and then answers machines with 404, or with a config that says nothing.
        if !is_exact(&self.cluster.read()) {
            let (check, named, content) = (self.check_template.clone(), name.clone(), config.clone());
            let checked = tokio::task::spawn_blocking(move || check(kind, &named, &content)).await;
            let checked = checked.map_err(|error| Status::internal(format!("the check did not end: {error}")))?;
            checked.map_err(|problem| status::unusable(kind, &name, &problem))?;
        }
        self.write(caller, Edit::PutTemplate(Template { kind, name, content: config.into() })).await?;
        Ok(Empty {})
    }

    pub(super) async fn config(&self, kind: TemplateKind, name: &str) -> Result<Config, Status> {
        let find = |state: &State| {
            let template = state.template(kind, name)?;
            Some(Bytes::copy_from_slice(&template.value.content))
        };
        let missing = || status::not_found(&format!("{} template", kind.name()), name);
        Ok(Config { config: self.found(find, missing).await? })
    }

    /// What is gone already is what was asked for: matchbox fails then, and with it half of a `terraform destroy`.
    pub(super) async fn delete_config(&self, caller: &Caller, kind: TemplateKind, ask: Named) -> Result<Empty, Status> {
        match self.write(caller, Edit::DeleteTemplate(kind, ask.name)).await {
            Err(missing) if missing.code() == tonic::Code::NotFound => Ok(Empty {}),
            other => other.map(|_| Empty {}),
        }
    }
}
