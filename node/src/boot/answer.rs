//! What each path answers: one function a path, from the request's words to the answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use raft::state::{Asset, NetBoot, ScriptStyle, Settings, State, Stored, TemplateKind};
use tracing::{info, warn};

use super::body::Body;
use super::config::{self, Choice, Job, Parser, Refusal};
use super::digests::Digests;
use super::labels::Labels;
use super::listing::{self, Target};
use super::nodes::{self, Whereabouts};
use super::path::{self, Cleaned};
use super::respond::{self, Answer};
use super::script::{self, Extras};
use super::signed::{self, Signing};
use super::stream::Reader;
use super::{Event, LOADERS_PATH, Loader, LoaderClient, Questions, Seen, files};

/// What answers share between requests.
pub(super) struct Context {
    /// The rest of the program.
    pub questions: Arc<dyn Questions>,
    /// Reads files.
    pub reader: Arc<Reader>,
    /// Keeps parsed templates.
    pub parser: Arc<Parser>,
    /// Keeps the digests of boot loaders.
    pub digests: Digests,
    /// Signs, if there is a key to sign with.
    pub signing: Option<Arc<Signing>>,
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    /// The machine.
    pub client: SocketAddr,
    /// The address it asked.
    pub local: SocketAddr,
}

impl Ends {
    /// `http://ADDRESS:PORT` as the machine reached this node; never from a header, which anybody can write.
    fn base_url(self) -> String {
        format!("http://{}", SocketAddr::new(self.local.ip().to_canonical(), self.local.port()))
    }

    fn client_ip(self) -> IpAddr {
        self.client.ip().to_canonical()
    }
}

/// One request: what was asked, by whom, and what the machine says of itself.
struct Request<'a> {
    context: &'a Context,
    ends: Ends,
    parts: &'a Parts,
    query: &'a str,
}

impl Context {
    /// Answers one request. Methods are not told apart, as in matchbox; HEAD gets the headers only.
    pub(super) async fn answer(&self, parts: &Parts, ends: Ends) -> Answer {
        let mut answer = match self.signature(parts, ends).await {
            Some(answer) => answer,
            None => self.route(parts, ends).await,
        };
        if answer.status() != StatusCode::NOT_MODIFIED {
            let length = answer.body().remaining();
            answer.headers_mut().insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        if parts.method == Method::HEAD {
            *answer.body_mut() = Body::empty();
        }
        answer
    }

    /// The signature of what another path answers, if that is what is asked for and there is a key.
    async fn signature(&self, parts: &Parts, ends: Ends) -> Option<Answer> {
        let signing = self.signing.as_ref()?;
        let Cleaned::Clean(path) = path::clean(parts.uri.path()) else { return None };
        let (base, form) = signed::wanted(&path)?;
        let inner = signed::request_for(base, parts)?;
        Some(signing.sign(self.route(&inner, ends).await, form).await)
    }

    async fn route(&self, parts: &Parts, ends: Ends) -> Answer {
        let raw = parts.uri.path();
        let path = match path::clean(raw) {
            Cleaned::Clean(path) => path,
            Cleaned::Redirect(to) => return respond::moved(&to, parts.uri.query()),
            Cleaned::Malformed => return respond::malformed(),
        };
        let request = Request { context: self, ends, parts, query: parts.uri.query().unwrap_or_default() };
        match &*path {
            b"/" => respond::sniffed(Bytes::from_static(b"matchbox\n")),
            b"/boot.ipxe" | b"/boot.ipxe.0" => request.boot(),
            b"/autoexec.ipxe" | b"/loaders/autoexec.ipxe" => request.autoexec(),
            b"/ipxe" => request.ipxe(),
            b"/grub" => request.grub(),
            b"/generic" => request.config(TemplateKind::Generic).await,
            b"/cloud" => request.config(TemplateKind::Cloud).await,
            b"/ignition" => request.config(TemplateKind::Ignition).await,
            b"/metadata" => request.metadata(),
            b"/assets" => respond::moved("/assets/", parts.uri.query()),
            // The prefix itself must be written plainly, as in matchbox.
            other => match (other.strip_prefix(b"/assets/"), other.strip_prefix(LOADERS_PATH.as_bytes())) {
                (Some(name), _) if raw.starts_with("/assets/") => request.asset(name).await,
                (_, Some(name)) => request.loader(name).await,
                _ => request.nothing_there(),
            },
        }
    }
}

fn style(state: &State) -> ScriptStyle {
    state.settings().map(|settings| settings.value.script_style).unwrap_or_default()
}

impl Request<'_> {
    fn boot(&self) -> Answer {
        let state = self.context.questions.state();
        respond::sniffed(script::boot(style(&state), &self.nodes(&state)))
    }

    fn autoexec(&self) -> Answer {
        let nodes = self.nodes(&self.context.questions.state());
        respond::sniffed(script::autoexec(&self.ends.base_url(), &nodes))
    }

    fn ipxe(&self) -> Answer {
        let state = self.context.questions.state();
        let labels = self.labels();
        if self.is_held(&state, &labels) {
            self.seen(&labels, Event::Held);
            return respond::sniffed(script::held(&self.nodes(&state)));
        }
        let settings = state.settings().map(|settings| &settings.value);
        let style = style(&state);
        let choice = match bootable(&state, &labels) {
            Ok(choice) => choice,
            Err(Refusal::NoGroup) if style == ScriptStyle::Robust => {
                self.refused(&labels, &Refusal::NoGroup);
                return respond::sniffed(script::unknown());
            }
            Err(Refusal::NoBoot { profile }) if style == ScriptStyle::Robust => {
                let answer = respond::sniffed(script::nothing_to_boot(&profile));
                self.refused(&labels, &Refusal::NoBoot { profile });
                return answer;
            }
            Err(refusal) => return self.refuse(&labels, &refusal),
        };
        let (place, asked) = (self.context.questions.whereabouts(), self.ends.base_url());
        let nodes = nodes::for_files(&state, &place, &asked, &self.machine(&labels), net_boot(&choice));
        let base_url = base_url(style, &place, &asked);
        self.chosen(&labels, &choice);
        let extras = Extras { nodes: &nodes, ..extras(settings, base_url) };
        respond::sniffed(script::ipxe(style, net_boot(&choice), extras))
    }

    fn grub(&self) -> Answer {
        let state = self.context.questions.state();
        let labels = self.labels();
        if self.is_held(&state, &labels) {
            self.seen(&labels, Event::Held);
            return respond::not_found();
        }
        match bootable(&state, &labels) {
            Ok(choice) => {
                let (place, asked) = (self.context.questions.whereabouts(), self.ends.base_url());
                let base_url = base_url(style(&state), &place, &asked);
                let settings = state.settings().map(|settings| &settings.value);
                self.chosen(&labels, &choice);
                respond::sniffed(script::grub(net_boot(&choice), extras(settings, base_url)))
            }
            Err(refusal) => self.refuse(&labels, &refusal),
        }
    }

    async fn config(&self, kind: TemplateKind) -> Answer {
        let state = self.context.questions.state();
        let labels = self.labels();
        let found = config::choose(&state, &labels).and_then(|choice| {
            let (place, asked) = (self.context.questions.whereabouts(), self.ends.base_url());
            let base_url = base_url(style(&state), &place, &asked).to_owned();
            Job::find(&state, &choice, kind, labels.clone(), self.query, base_url)
        });
        let job = match found {
            Ok(job) => job,
            Err(refusal) => return self.refuse(&labels, &refusal),
        };
        let name = job.name().to_owned();
        let made = if job.is_heavy() {
            let parser = self.context.parser.clone();
            match self.context.reader.run(move || job.run(&parser)).await {
                Ok(made) => made,
                Err(_) => return respond::unavailable(),
            }
        } else {
            job.run(&self.context.parser)
        };
        let content = match made {
            Ok(content) => content,
            Err(refusal) => return self.refuse(&labels, &refusal),
        };
        self.seen(&labels, Event::Config { kind, name: &name });
        match kind {
            TemplateKind::Ignition => respond::whole(StatusCode::OK, APPLICATION_JSON, content),
            _ => respond::rendered(&self.parts.method, &self.parts.headers, content),
        }
    }

    fn metadata(&self) -> Answer {
        let state = self.context.questions.state();
        let labels = self.labels();
        let group = config::group_of(&state, &labels);
        match group.and_then(|group| config::data(&group.value, config::numbers_of(&state), &labels.map, self.query)) {
            Ok(data) => {
                self.seen(&labels, Event::Metadata);
                // Matchbox has the words the wrong way round, and its clients have lived with it.
                let media = HeaderValue::from_static("plain/text");
                respond::whole(StatusCode::OK, media, crate::template::env_file(&data))
            }
            Err(refusal) => self.refuse(&labels, &refusal),
        }
    }

    async fn asset(&self, name: &[u8]) -> Answer {
        if name.contains(&0) {
            return respond::whole(StatusCode::INTERNAL_SERVER_ERROR, TEXT, &b"500 Internal Server Error\n"[..]);
        }
        let Ok(name) = std::str::from_utf8(name) else { return self.nothing_there() };
        let state = self.context.questions.state();
        match listing::resolve(&state, name) {
            Target::Nothing => self.nothing_there(),
            Target::Redirect(to) => respond::moved(&to, self.parts.uri.query()),
            Target::List(folder) => {
                let Ok(html) = self.context.reader.run(move || listing::list(&state, &folder)).await else {
                    return respond::unavailable();
                };
                let media = HeaderValue::from_static("text/html; charset=utf-8");
                respond::whole(StatusCode::OK, media, html)
            }
            Target::File(asset) => {
                self.seen(&Labels::default(), Event::Asset(&asset.value.name));
                self.file(&asset).await
            }
        }
    }

    async fn file(&self, asset: &Arc<Stored<Asset>>) -> Answer {
        let Context { questions, reader, .. } = self.context;
        let answer = files::serve(questions, reader, &self.parts.method, &self.parts.headers, asset).await;
        if answer.status().is_server_error() {
            let reason = format!("asset `{}` cannot be served right now", asset.value.name);
            self.seen(&Labels::default(), Event::Refused { reason: &reason });
        }
        answer
    }

    async fn loader(&self, name: &[u8]) -> Answer {
        let agent = self.parts.headers.get(http::header::USER_AGENT);
        let client = LoaderClient {
            address: self.ends.client_ip(),
            local: self.ends.local.ip(),
            ipxe: agent.is_some_and(|agent| agent.as_bytes().starts_with(b"iPXE/")),
            gets: self.parts.method == Method::GET,
        };
        let Context { questions, reader, .. } = self.context;
        let found = std::str::from_utf8(name).ok().and_then(|name| Some((name, questions.loader(name, client)?)));
        let Some((name, loader)) = found else { return self.nothing_there() };
        self.seen(&Labels::default(), Event::Loader(name));
        let bytes = match loader {
            Loader::Bytes(bytes) => bytes,
            Loader::Asset(asset) => return self.file(&asset).await,
        };
        let Ok(digest) = self.context.digests.of(&bytes, reader).await else { return respond::unavailable() };
        let media = HeaderValue::from_static("application/octet-stream");
        respond::in_memory(&self.parts.method, &self.parts.headers, &bytes, &format!("\"{digest}\""), media)
    }

    fn nothing_there(&self) -> Answer {
        let path = shown(self.parts.uri.path());
        info!(client = %self.ends.client_ip(), path, "there is nothing at the path that was asked for");
        self.seen(&Labels::default(), Event::Refused { reason: &format!("there is nothing at {path}") });
        respond::not_found()
    }

    fn labels(&self) -> Labels {
        let labels = Labels { from: Some(self.ends.client_ip()), ..Labels::parse(self.query) };
        for bad in &labels.bad_macs {
            info!(client = %self.ends.client_ip(), mac = shown(bad), "ignored a label that is no MAC address");
        }
        labels
    }

    fn is_held(&self, state: &State, labels: &Labels) -> bool {
        let by_mac = labels.mac.as_ref().and_then(|mac| state.machine(mac));
        let known = by_mac.or_else(|| state.machine_of_uuid(&labels.uuid()?));
        known.is_some_and(|machine| machine.policy.hold)
    }

    /// Where this machine may ask again.
    fn nodes(&self, state: &State) -> Vec<String> {
        nodes::for_questions(state, &self.context.questions.whereabouts(), &self.ends.base_url())
    }

    /// What tells this machine from others when load is spread: its card, else its UUID, else where it asks from.
    fn machine(&self, labels: &Labels) -> String {
        let mac = labels.mac.as_ref().map(ToString::to_string);
        mac.or_else(|| labels.uuid()).unwrap_or_else(|| self.ends.client_ip().to_string())
    }

    fn chosen(&self, labels: &Labels, choice: &Choice) {
        let (group, profile) = (choice.group.value.id.as_str(), choice.profile.value.id.as_str());
        self.seen(labels, Event::Script { group, profile });
    }

    fn refuse(&self, labels: &Labels, refusal: &Refusal) -> Answer {
        self.refused(labels, refusal);
        respond::not_found()
    }

    /// The client sees a bare 404, so the log and the timeline must say why. Broken templates are ours to mend: a warning.
    fn refused(&self, labels: &Labels, refusal: &Refusal) {
        let (client, path) = (self.ends.client_ip(), shown(self.parts.uri.path()));
        let (mac, query, reason) = (mac(labels), shown(self.query), refusal.to_string());
        self.seen(
            labels,
            match refusal {
                Refusal::NoGroup => Event::Unmatched,
                _ => Event::Refused { reason: &reason },
            },
        );
        match refusal {
            Refusal::NoGroup | Refusal::NoProfile { .. } | Refusal::NoBoot { .. } | Refusal::NoTemplate { .. } => {
                info!(%client, path, mac, query, reason, "there was nothing for a machine");
            }
            Refusal::Template { kind, name, problem } => {
                warn!(%client, path, mac, query, kind, template = name, reason = problem, "a template failed for a machine");
            }
            Refusal::Metadata { .. } => {
                warn!(%client, path, mac, query, reason, "there was nothing for a machine");
            }
        }
    }

    fn seen(&self, labels: &Labels, event: Event<'_>) {
        let uuid = labels.uuid().unwrap_or_default();
        self.context.questions.seen(Seen {
            mac: labels.mac.as_ref(),
            uuid: &uuid,
            serial: labels.recordable("serial"),
            arch: labels.recordable("arch"),
            address: self.ends.client_ip(),
            event,
        });
    }
}

const APPLICATION_JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

fn bootable(state: &State, labels: &Labels) -> Result<Choice, Refusal> {
    let choice = config::choose(state, labels)?;
    if choice.profile.value.boot.is_some() {
        return Ok(choice);
    }
    Err(Refusal::NoBoot { profile: choice.profile.value.id.clone() })
}

fn net_boot(choice: &Choice) -> &NetBoot {
    choice.profile.value.boot.as_ref().expect("a bootable choice has a `boot`")
}

fn extras<'a>(settings: Option<&'a Settings>, base_url: &'a str) -> Extras<'a> {
    let args = settings.map(|settings| settings.extra_kernel_args.as_slice()).unwrap_or_default();
    Extras { args, base_url, nodes: &[] }
}

/// What `${base_url}` stands for: nothing where matchbox's text is wanted to the letter.
fn base_url<'a>(style: ScriptStyle, place: &'a Whereabouts, asked: &'a str) -> &'a str {
    match style {
        ScriptStyle::Matchbox => "",
        ScriptStyle::Robust => place.lasting(asked),
    }
}

fn mac(labels: &Labels) -> String {
    labels.mac.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// How much of a request's own words a log line shows, in characters.
const SHOWN_CHARS_MAX: usize = 300;

/// A request's own words for the log: control characters escaped, cut to a length.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect()
}
