//! An HTTP client that sends request targets byte for byte, without cleaning them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// Sends requests byte for byte, over one connection as long as it lasts.
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) connection: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &BTreeMap<String, String>,
        body: Option<&[u8]>,
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if body.is_some() || matches!(method, "POST" | "PUT" | "PATCH") {
            head.push_str(&format!("Content-Length: {}\r\n", body.map_or(0, <[u8]>::len)));
        }
        head.push_str("\r\n");
        let request = [head.as_bytes(), body.unwrap_or_default()].concat();
        for attempt in 0..2 {
            let fresh = self.connection.is_none();
            let connection = self.connection.get_or_insert_with(|| {
                let stream = TcpStream::connect(self.address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                stream.set_nodelay(true).unwrap();
                BufReader::new(stream)
            });
            let sent = connection.get_mut().write_all(&request);
            match sent.ok().and_then(|()| read_answer(connection, method)) {
                Some((answer, stays)) => {
                    if !stays {
                        self.connection = None;
                    }
                    return answer;
                }
                None => self.connection = None,
            }
            assert!(!fresh || attempt == 0, "no answer to {method} {path}");
        }
        panic!("no answer to {method} {path}");
    }
}

fn read_answer(connection: &mut BufReader<TcpStream>, method: &str) -> Option<(Answer, bool)> {
    let mut line = String::new();
    connection.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let status: u16 = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        connection.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let bodiless = method == "HEAD" || status == 304;
    let length = headers.get("content-length").map(|length| length.parse().unwrap());
    assert!(bodiless || length.is_some(), "every answer says how long it is");
    let mut body = vec![0; if bodiless { 0 } else { length.unwrap_or(0) }];
    connection.read_exact(&mut body).ok()?;
    let stays = headers.get("connection").is_none_or(|value| value != "close");
    Some((Answer { status, headers, body }, stays))
}
