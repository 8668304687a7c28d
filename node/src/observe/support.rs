//! The texts of one node that help to find a fault. Nothing that machines or operators wrote is among them.

use serde::{Deserialize, Serialize};

use super::{Source, host, redact};

/// What one node has collected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Support {
    /// Its name.
    pub node: String,
    /// Its texts.
    pub files: Vec<FileText>,
}

/// A text with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileText {
    /// What it is called: `log.txt`.
    pub name: String,
    /// What it says.
    pub text: String,
}

impl FileText {
    /// A text.
    #[must_use]
    pub fn new(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// A value as text.
    #[must_use]
    pub fn json(name: &str, value: &impl Serialize) -> Self {
        let text =
            serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("this cannot be written: {error}"));
        Self::new(name, text + "\n")
    }
}

impl Source {
    /// Collects them; `numbers` is the page for Prometheus.
    pub(super) async fn support(&self, numbers: String) -> Support {
        let network = host::network().await;
        let source = self.clone();
        let files = tokio::task::spawn_blocking(move || source.texts(numbers, network)).await.unwrap_or_default();
        Support { node: self.name(), files }
    }

    fn texts(&self, numbers: String, network: String) -> Vec<FileText> {
        let log: Vec<String> = (self.log)().iter().filter_map(|line| redact::line(line)).collect();
        let status = self.cluster.status();
        vec![
            FileText::json("about.json", &self.about()),
            FileText::json("consensus.json", &status),
            FileText::json("parts.json", &(self.health)()),
            FileText::json("copies.json", &self.replicator.status()),
            FileText::new("metrics.txt", numbers),
            FileText::new("log.txt", log.join("\n") + "\n"),
            FileText::new("config.txt", self.config.as_ref()),
            FileText::new("host.txt", host::computer()),
            FileText::new("network.txt", network),
            FileText::new("disk.txt", self.data_dir.as_deref().map(host::disk).unwrap_or_default()),
            FileText::json("timelines.json", &self.timeline.summary()),
        ]
    }
}
