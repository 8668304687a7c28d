//! What can be seen of real nodes from outside: numbers, alerts, logs, status for monitoring, and the support bundle.

#[path = "observe/alerts.rs"]
mod alerts;
#[path = "observe/bundle.rs"]
mod bundle;
#[path = "observe/exposition.rs"]
mod exposition;
#[path = "cluster/node.rs"]
#[allow(dead_code, reason = "the rig of other tests too")]
mod node;

use std::process::{Command, Stdio};

use exposition::{Numbers, scrape};
use node::{Node, until};
use raftboot::metrics::FAMILIES;
use serde_json::{Value, json};

const GROUP: &str = "kind: profile\nid: p\nboot: {kernel: /assets/k}\n---\nkind: group\nid: g\nprofile: p\n";

fn get(node: &Node, path: &str) -> u16 {
    let url = format!("http://127.0.0.1:{}{path}", node.http);
    let answer = ureq::get(&url).config().http_status_as_error(false).build().call().expect("it answers");
    let status = answer.status().as_u16();
    answer.into_body().read_to_vec().expect("a body");
    status
}

#[test]
fn numbers_are_those_of_the_reference_and_move_when_a_machine_is_served() {
    let (a, _) = Node::found("a");
    a.cli(&a, &["apply", "-f", &a.write("g.yaml", GROUP)]).ok();
    a.cli(&a, &["asset", "put", "k", &a.write("kernel", "bytes of a kernel")]).ok();
    let before = Numbers::read(&scrape(&a, "/metrics"));
    assert_eq!(get(&a, "/ipxe?mac=52-54-00-12-34-56"), 200);
    assert_eq!((get(&a, "/assets/k"), get(&a, "/assets/none")), (200, 404));
    let text = scrape(&a, "/metrics");
    let after = Numbers::read(&text);

    let named: Vec<&str> = after.families.keys().map(String::as_str).collect();
    let mut want: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    want.sort_unstable();
    assert_eq!(named, want, "all of the table, and nothing else");
    for family in FAMILIES {
        assert_eq!(after.families[family.name], family.kind.word(), "{}", family.name);
    }
    let moved = |sample: &str| after.value(sample) - before.value(sample);
    for (sample, more) in [
        ("raftboot_boot_http_requests_total{path=\"script\",code=\"2xx\"}", 1.0),
        ("raftboot_boot_http_requests_total{path=\"asset\",code=\"2xx\"}", 1.0),
        ("raftboot_boot_http_requests_total{path=\"asset\",code=\"4xx\"}", 1.0),
        ("raftboot_admin_requests_total{code=\"2xx\"}", 1.0),
    ] {
        assert!((moved(sample) - more).abs() < 0.5, "{sample}: {}", moved(sample));
    }
    assert!(moved("raftboot_boot_http_sent_bytes_total") >= 17.0);
    assert!(moved("raftboot_boot_http_request_duration_seconds_count") >= 3.0);
    for (sample, value) in [
        ("raftboot_raft_is_leader", 1.0),
        ("raftboot_raft_has_leader", 1.0),
        ("raftboot_vip_configured", 0.0),
        ("raftboot_vip_held", 0.0),
        ("raftboot_objects{kind=\"group\"}", 1.0),
        ("raftboot_blobs", 1.0),
        ("raftboot_blobs_size_bytes", 17.0),
        ("raftboot_node_info{node=\"a\",id=\"1\",kind=\"data\"}", 1.0),
        ("raftboot_part_running{part=\"boot http\"}", 1.0),
        ("raftboot_part_running{part=\"tftp\"}", 0.0),
    ] {
        assert!((after.value(sample) - value).abs() < 0.1, "{sample}: {}", after.value(sample));
    }
    assert!(after.value("raftboot_raft_fsync_duration_seconds_count") > 2.0, "changes were synced");
    assert!(after.value("raftboot_raft_proposals_total") > 2.0);
    assert!(after.value("raftboot_log_lines_total{level=\"info\"}") > 2.0);
    promtool(&text);
}

/// Prometheus' own opinion, where its tool is installed.
fn promtool(text: &str) {
    let mut command = Command::new("promtool");
    let command = command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.stderr(Stdio::piped()).spawn() else { return };
    let mut input = child.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut input, text.as_bytes()).expect("it reads all");
    drop(input);
    let said = child.wait_with_output().expect("it ends");
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
}

#[test]
fn numbers_take_the_role_read() {
    let (a, _) = Node::found("a");
    let reader = a.cli(&a, &["token", "create", "--role", "read", "prometheus", "-o", "json"]).json();
    let token = reader["token"].as_str().expect("a secret");
    assert_eq!(exposition::status(&a, "/metrics", Some(token)), 200);
    assert_eq!(exposition::status(&a, "/metrics", None), 401);
    assert_eq!(exposition::status(&a, "/api/v1/support", Some(token)), 403);
    let refused = Numbers::read(&scrape(&a, "/metrics"));
    assert!(refused.value("raftboot_admin_refused_callers_total{reason=\"unauthenticated\"}") >= 1.0);
    assert!(refused.value("raftboot_admin_refused_callers_total{reason=\"forbidden\"}") >= 1.0);
}

#[test]
fn a_leader_tells_how_the_others_are_and_status_says_what_each_runs() {
    let (a, token) = Node::found("a");
    let calm = a.cli(&a, &["status", "--check"]);
    assert_eq!((calm.code, calm.out.lines().next()), (Some(0), Some("all is well")), "{calm:?}");

    let mut b = Node::new("b");
    b.join(&a, &token, &[]).ok();
    b.start();
    until("b votes", || (a.status(&a)["cluster"]["voters"] == json!([1, 2])).then_some(()));
    let numbers = Numbers::read(&scrape(&a, "/metrics"));
    assert!((numbers.value("raftboot_raft_peer_reachable{peer=\"b\"}") - 1.0).abs() < 0.1);
    assert!(numbers.value("raftboot_raft_peer_silent_seconds{peer=\"b\"}") < 2.0);

    let status = until("both say how they are", || {
        let status = b.status(&a);
        let all = status["members"].as_array().expect("a list").iter().all(|member| member["version"].is_string());
        all.then_some(status)
    });
    for member in status["members"].as_array().expect("a list") {
        assert_eq!(member["version"], env!("CARGO_PKG_VERSION"), "{member}");
        assert!(member["clock_ahead_millis"].as_i64().is_some_and(|ahead| ahead.abs() < 2000), "{member}");
        assert!(member["disk_free_bytes"].as_u64().is_some_and(|free| free > 0), "{member}");
    }
    assert_eq!(status["problems"][0]["code"], "two_nodes", "{status}");
    let worried = b.cli(&a, &["status", "--check"]);
    assert_eq!(worried.code, Some(1), "{worried:?}");
    let first: Vec<&str> = worried.out.lines().take(2).collect();
    assert!(first[0] == "1 thing needs a hand:" && first[1].starts_with("! with two voters"), "{first:?}");
    assert_eq!(worried.error, "", "everything is said already");

    // A node that is frozen is not waited for.
    b.signal("STOP");
    let begun = std::time::Instant::now();
    let status = a.status(&a);
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(status["members"][1].get("version").is_none(), "{status}");
    b.signal("CONT");
}

fn json_lines(node: &Node) -> Vec<Value> {
    let log = node.log();
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn every_line_is_json_and_says_which_request_it_is_about() {
    let mut a = Node::new("a");
    let written = std::fs::read_to_string(a.config()).expect("it was written");
    let logging = "[log]\nformat = \"json\"\nlevel = \"debug\"\n";
    std::fs::write(a.config(), written + logging).expect("a writable folder");
    a.init(&[]).ok();
    a.spawn();
    until("it is ready", || json_lines(&a).iter().any(|line| line["message"] == "ready").then_some(()));

    let asked = exposition::call(&a, "/api/v1/profiles/none", &[("x-request-id", "ticket-7")]);
    assert_eq!((asked.0, asked.1.as_deref()), (404, Some("ticket-7")));
    let asked = exposition::call(&a, "/api/v1/profiles/none", &[("x-request-id", "bad id\u{7f}")]);
    assert!(asked.1.as_deref().is_some_and(|id| id.len() == 15 && id != "ticket-7"), "{asked:?}");
    assert_eq!(get(&a, "/nothing-here"), 404);
    let about = |id: &str, words: &str| {
        json_lines(&a).into_iter().find(|line| {
            let message = line["message"].as_str().unwrap_or_default();
            message.contains(words) && (id.is_empty() || line["span"]["request_id"] == id)
        })
    };
    let refusal = until("the refusal is logged with its id", || about("ticket-7", "was refused"));
    assert!(refusal["problem"].as_str().is_some_and(|problem| problem.contains("there is no")), "{refusal}");
    let boot = until("a machine's request has an id", || about("", "there is nothing at the path"));
    assert_eq!(boot["span"]["request_id"].as_str().map(str::len), Some(15), "{boot}");
    for line in json_lines(&a) {
        for field in ["timestamp", "level", "target"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
}
