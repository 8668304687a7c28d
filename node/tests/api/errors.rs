//! Every mistake a client can make has one shape of answer, and changes nothing.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::server::Server;

#[test]
fn what_cannot_be_asked_is_said_in_the_same_shape() {
    let server = Server::start();
    assert_eq!(server.get("/api/v1/nothing").error(), (404, "no_such_path".into(), String::new()));
    assert_eq!(server.get("/").error().1, "no_such_path");
    assert_eq!(server.get("/api/v1/profiles/").error().1, "no_such_path");
    let wrong = server.call("POST", "/api/v1/profiles/p", b"{}");
    assert_eq!(wrong.error(), (405, "method_not_allowed".into(), String::new()));
    let allowed = wrong.header("allow");
    assert!(["GET", "PUT", "DELETE"].iter().all(|method| allowed.contains(method)), "{allowed}");
    for (query, field) in [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("prefx=a", "prefx")] {
        assert_eq!(
            server.get(&format!("/api/v1/profiles?{query}")).error(),
            (400, "invalid_query".into(), field.into()),
            "{query}"
        );
    }
    assert_eq!(server.get("/api/v1/groups?selector=mac").error().2, "selector");
    assert_eq!(server.get("/api/v1/templates/yaml/x").error().2, "type");
    assert_eq!(server.get("/api/v1/blobs/xyz").error().2, "digest");
}

#[test]
fn a_body_that_is_wrong_is_said_by_place() {
    let server = Server::start();
    for (body, status, code, field, words) in [
        ("", 400, "invalid_json", "", "EOF"),
        ("{\n\"id\": }", 400, "invalid_json", "", "line 2, column 7"),
        ("\u{feff}{}", 400, "invalid_json", "", "line 1"),
        (r#"{"bot":{}}"#, 422, "invalid", "bot", "unknown field `bot`"),
        (r#"{"boot":{"kernel":7}}"#, 422, "invalid", "boot.kernel", "expected a string"),
        (r#"{"boot":{"args":["a",null]}}"#, 422, "invalid", "boot.args[1]", "expected a string"),
        (r#"{"id":"other"}"#, 422, "invalid", "id", "the path `p`"),
        (r#"{"kind":"group"}"#, 422, "invalid", "kind", "this is a group"),
        (r#"{"id":"p","id":"p"}"#, 422, "invalid", "", "`id` is there twice"),
        ("[]", 422, "invalid", "", "expected an object"),
        (r#"{"boot":{"kernel":"a\nb"}}"#, 422, "invalid", "boot.kernel", "line break"),
    ] {
        let reply = server.put("/api/v1/profiles/p", body);
        assert_eq!(reply.error(), (status, code.into(), field.into()), "{body}");
        let message = reply.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{body}: {message}");
    }
    // A list is not taken for the fields in their order.
    assert_eq!(server.call("POST", "/api/v1/apply", b" [[]]").error(), (422, "invalid".into(), String::new()));
    assert_eq!(server.call("POST", "/api/v1/apply", b"[[]").error().1, "invalid_json");
    assert_eq!(server.call("PUT", "/api/v1/profiles/p", b"{\"name\":\"\xff\"}").error().1, "invalid_json");
    assert_eq!(server.get("/api/v1/profiles").ok()["items"], json!([]));
}

#[test]
fn a_body_too_large_is_refused_whether_announced_or_not() {
    let server = Server::start();
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    assert_eq!(server.call("PUT", "/api/v1/profiles/p", &large).error(), (413, "too_large".into(), String::new()));
    let chunked = server.call_and("PUT", "/api/v1/profiles/p", &[("transfer-encoding", "chunked")], &large);
    assert_eq!(chunked.error().1, "too_large");
    let template = vec![b'x'; 4 * 1024 * 1024 + 1];
    assert_eq!(server.call("PUT", "/api/v1/templates/generic/t", &template).error().0, 413);
}

#[test]
fn a_clients_own_request_id_is_kept_if_it_is_harmless() {
    let server = Server::start();
    let mine = server.call_and("GET", "/api/v1/profiles/x", &[("x-request-id", "trace:1-2.3")], b"");
    assert_eq!(mine.json()["request_id"], "trace:1-2.3");
    let odd = server.call_and("GET", "/api/v1/profiles/x", &[("x-request-id", "a b\"c")], b"");
    assert_eq!(odd.error().0, 404);
    assert_ne!(odd.json()["request_id"], "a b\"c");
}

/// Sends bytes, inside TLS or bare, and reads until the other side closes or says something.
fn noise(server: &Server, bytes: &[u8], secured: bool) -> Vec<u8> {
    use std::io::{Read, Write};
    let port: u16 = server.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a URL with a port");
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
    socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("a socket");
    let mut answer = vec![0; 4096];
    let read = if secured {
        let name = "localhost".try_into().expect("a name");
        let mut session = rustls::ClientConnection::new(server.trust(), name).expect("a client");
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        let _closed_early = stream.write_all(bytes);
        stream.read(&mut answer)
    } else {
        let _closed_early = socket.write_all(bytes);
        socket.read(&mut answer)
    };
    // Silence is an answer too: the head is not complete yet, and times out later.
    answer.truncate(read.unwrap_or(0));
    answer
}

#[test]
fn noise_on_the_port_hurts_nobody() {
    let server = Server::start();
    let long = [b"GET /".as_slice(), &[b'a'; 1_000_000], b" HTTP/1.1\r\n\r\n"].concat();
    let headers = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(1000));
    let requests: &[&[u8]] = &[
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /api/v1/apply HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/apply HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnoise and more noise, no frame at all",
        &long,
        headers.as_bytes(),
    ];
    for request in requests {
        noise(&server, request, false);
        let answer = noise(&server, request, true);
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).map(str::to_owned);
        assert!(!status.is_some_and(|status| status.starts_with(['2', '5'])), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.get("/api/v1/status").status, 200);
}

/// JSON that is often nearly right, so that the deeper checks are reached.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("profile"),
        Just("group"),
        Just("template"),
        Just("asset"),
        Just("settings"),
        Just("generic"),
        Just("mac"),
        Just("52:54:00:12:34:56"),
        Just("off"),
        Just(""),
        Just("a/../b"),
        Just("\n#!ipxe"),
        Just("é\u{0}"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("kind"),
        Just("id"),
        Just("name"),
        Just("type"),
        Just("content"),
        Just("content_base64"),
        Just("profile"),
        Just("selector"),
        Just("metadata"),
        Just("boot"),
        Just("kernel"),
        Just("initrd"),
        Just("args"),
        Just("digest"),
        Just("dhcp_mode"),
        Just("loaders"),
        Just("extra_kernel_args"),
        Just("items"),
        Just("replace"),
        Just("allow_ties"),
        Just("dry_run"),
        Just("revision"),
        Just("mac"),
    ];
    leaf.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

#[test]
fn whatever_is_applied_is_never_the_servers_fault() {
    let server = Server::start();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = prop_oneof![
        any_json().prop_map(|value| value.to_string().into_bytes()),
        prop::collection::vec(any_json(), 0..5).prop_map(|items| json!({"items": items}).to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..64),
    ];
    let checked = runner.run(&strategy, |body| {
        let reply = server.call("POST", "/api/v1/apply", &body);
        prop_assert!(reply.status < 500, "{}: {}", reply.status, String::from_utf8_lossy(&reply.bytes));
        if reply.status >= 400 {
            reply.error();
        }
        Ok(())
    });
    checked.unwrap();
    assert_eq!(server.get("/api/v1/status").status, 200);
}
